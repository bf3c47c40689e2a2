-- The embedded store. Integers stand for names everywhere; times are microseconds since 1970.

CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('generation', 0), ('paths', 0);

CREATE TABLE tenant (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
INSERT INTO tenant VALUES (0, '');

-- IRIs of types and attributes, and dataset ids (0, the default instance, is not in it).
CREATE TABLE name (id INTEGER PRIMARY KEY, iri TEXT NOT NULL UNIQUE) STRICT;

-- State. `rid` grows with every creation and is never used again, so it is also the order of answers.
-- `history` is the number under which points are kept: the rid of the first recorded incarnation, 0 when
-- there is no history.
CREATE TABLE entity (
  rid INTEGER PRIMARY KEY,
  tenant INTEGER NOT NULL,
  id TEXT NOT NULL,
  version INTEGER NOT NULL,
  expires INTEGER,
  history INTEGER NOT NULL,
  document BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX entity_id ON entity (tenant, id);
CREATE INDEX entity_expires ON entity (expires) WHERE expires IS NOT NULL;

-- A form is what entities look like without their values: types, and attributes with their kinds.
-- Few forms stand for many entities, so they answer discovery and thin out queries.
CREATE TABLE form (
  id INTEGER PRIMARY KEY,
  tenant INTEGER NOT NULL,
  body TEXT NOT NULL,
  entities INTEGER NOT NULL,
  UNIQUE (tenant, body)
) STRICT;

CREATE TABLE entity_type (
  tenant INTEGER NOT NULL,
  type INTEGER NOT NULL,
  rid INTEGER NOT NULL,
  form INTEGER NOT NULL,
  PRIMARY KEY (tenant, type, rid)
) STRICT, WITHOUT ROWID;

CREATE TABLE entity_scope (
  tenant INTEGER NOT NULL,
  scope TEXT NOT NULL,
  rid INTEGER NOT NULL,
  PRIMARY KEY (tenant, scope, rid)
) STRICT, WITHOUT ROWID;

-- Boxes around geometries: `id` is rid * 256 + number of the geometry in its entity.
CREATE VIRTUAL TABLE box USING rtree (id, west, east, south, north, +property INTEGER);

-- Attribute index, made for the paths that queries use. `filled`: the last rid of the first filling, NULL
-- when that is done. `overflow`: some entity has more scalars at the path than are kept.
CREATE TABLE path (
  id INTEGER PRIMARY KEY,
  tenant INTEGER NOT NULL,
  body TEXT NOT NULL,
  filled INTEGER,
  overflow INTEGER NOT NULL DEFAULT 0,
  UNIQUE (tenant, body)
) STRICT;

CREATE TABLE lookup (
  path INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  value ANY NOT NULL,
  rid INTEGER NOT NULL,
  PRIMARY KEY (path, kind, value, rid)
) STRICT, WITHOUT ROWID;
CREATE INDEX lookup_rid ON lookup (path, rid);

-- History. What the points of a series share stands here once; see `history.Series` and `history.Point`.
CREATE TABLE series (
  id INTEGER PRIMARY KEY,
  attribute INTEGER NOT NULL,
  dataset INTEGER NOT NULL,
  kind TEXT NOT NULL,
  unit_code TEXT NOT NULL,
  written TEXT NOT NULL,
  coding TEXT NOT NULL,
  UNIQUE (attribute, dataset, kind, unit_code, written, coding)
) STRICT;

-- Every byte counts here: `ms` are milliseconds since 1970, `fine` the microseconds beyond them times 2^20,
-- plus the number that tells apart what stands at the same place; so `fine` is 0, and free, as a rule.
CREATE TABLE point (
  history INTEGER NOT NULL,
  series INTEGER NOT NULL,
  ms INTEGER NOT NULL,
  fine INTEGER NOT NULL,
  lag INTEGER NOT NULL,
  value ANY,
  rest BLOB,
  PRIMARY KEY (history, series, ms, fine, lag)
) STRICT, WITHOUT ROWID;

-- What history knows beyond the present state: entities that are not there (any more), and types that
-- were told to history alone.
CREATE TABLE past (
  history INTEGER PRIMARY KEY,
  tenant INTEGER NOT NULL,
  id TEXT NOT NULL,
  types TEXT NOT NULL,
  scopes TEXT NOT NULL,
  created INTEGER NOT NULL,
  modified INTEGER NOT NULL,
  deleted INTEGER NOT NULL,
  UNIQUE (tenant, id)
) STRICT;

-- Records, the outbox, the change log.
CREATE TABLE record (
  seq INTEGER PRIMARY KEY,
  kind TEXT NOT NULL,
  tenant INTEGER NOT NULL,
  id TEXT NOT NULL,
  version INTEGER NOT NULL,
  body BLOB NOT NULL,
  UNIQUE (kind, tenant, id)
) STRICT;

CREATE TABLE delivery (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  tenant INTEGER NOT NULL,
  subscription TEXT NOT NULL,
  created INTEGER NOT NULL,
  due INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  dead INTEGER NOT NULL,
  error TEXT NOT NULL,
  body BLOB NOT NULL
) STRICT;
CREATE INDEX delivery_waiting ON delivery (dead, seq);
CREATE INDEX delivery_subscription ON delivery (subscription, dead, seq);

CREATE TABLE log (
  seq INTEGER PRIMARY KEY,
  tenant INTEGER NOT NULL,
  id TEXT NOT NULL,
  operation INTEGER NOT NULL,
  form INTEGER NOT NULL,
  attributes TEXT NOT NULL,
  at INTEGER NOT NULL,
  actor TEXT NOT NULL,
  depth INTEGER NOT NULL
) STRICT;
