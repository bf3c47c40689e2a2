"""State and history: where the city is kept. Backends differ in speed and reach, never in answer."""
