"""Requests to copy: with this server's own address, and well formed."""

import html
import re
import shlex

import msgspec


async def test_examples_are_addressed_to_this_server(visit) -> None:
    found = await visit("/connect", host="city.example:8026")
    assert "http://city.example:8026/ngsi-ld/v1/entities" in found.text


async def test_commands_are_words_that_a_shell_understands(visit) -> None:
    found = await visit("/connect")
    commands = [
        html.unescape(code)
        for code in re.findall(r'<code class="lang-sh">(.*?)</code>', found.text, re.DOTALL)
    ]
    assert len(commands) == 6
    for command in commands:
        assert shlex.split(command)[0] == "curl"
    bodies = [shlex.split(command) for command in commands if " -d " in command]
    for words in bodies:
        assert "type" in msgspec.json.decode(words[words.index("-d") + 1])


async def test_the_python_example_compiles(visit) -> None:
    found = await visit("/connect")
    [code] = re.findall(r'<code class="lang-python">(.*?)</code>', found.text, re.DOTALL)
    compile(html.unescape(code), "example", "exec")


async def test_every_context_is_listed(visit) -> None:
    found = await visit("/connect")
    assert "https://w3id.org/autocity/contexts/autocity.jsonld" in found.text
