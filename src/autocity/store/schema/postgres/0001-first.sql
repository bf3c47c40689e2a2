-- The city on PostgreSQL. Integers stand for names; times are microseconds since 1970.

-- What every writer passes through: one row, locked from the moment a commit is numbered until it is
-- durable, so that numbers of the change log have no gaps and become visible in their order.
-- `generation` counts writes of records that every process keeps at hand, `paths` changes of the
-- attribute indexes.
CREATE TABLE city (seq bigint NOT NULL, generation bigint NOT NULL, paths bigint NOT NULL);
INSERT INTO city VALUES (0, 0, 0);

-- Grows with each new form and each change of the attribute indexes. Answers to queries carry it, so a
-- process that planned with less than there is notices and plans again.
CREATE TABLE knowledge (revision bigint NOT NULL);
INSERT INTO knowledge VALUES (0);

-- A number is given before anything is `written`, and stays when that is refused.
CREATE TABLE tenant (id integer PRIMARY KEY, name text NOT NULL UNIQUE, written boolean NOT NULL);
INSERT INTO tenant VALUES (0, '', true);

-- JSON texts that many rows share: series of history, names of changed attributes.
CREATE TABLE word (
  id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  digest bytea NOT NULL UNIQUE,
  body text NOT NULL
);

-- A form is what entities look like without their values: types, and attributes with their kinds.
-- Few forms stand for many entities, so they answer discovery and thin out queries.
CREATE TABLE form (
  id integer PRIMARY KEY,
  tenant integer NOT NULL,
  digest bytea NOT NULL,
  body text NOT NULL,
  entities bigint NOT NULL DEFAULT 0,
  UNIQUE (tenant, digest)
) WITH (fillfactor = 50);

CREATE SEQUENCE entity_rid CACHE 1;

-- State. `rid` is the order of creation, NULL for an entity that is not there (any more) but has a history;
-- `number`, the first `rid`, is what its points are kept under. The id is the only unique key.
-- `scopes`: "=a/b" for being in /a/b, "a" for being below /a. `bounds`: a box around all geometries.
-- `past`: what history knows beyond the present state: types that were told to it alone and, of an entity
-- that is not there, types, scopes and times.
CREATE TABLE entity (
  tenant integer NOT NULL,
  id text COLLATE "C" NOT NULL,
  number bigint NOT NULL,
  rid bigint,
  version bigint NOT NULL,
  form integer,
  expires bigint,
  recorded boolean NOT NULL,
  bounds box,
  scopes text[],
  past jsonb,
  document bytea,
  PRIMARY KEY (tenant, id)
) WITH (fillfactor = 80);
-- What is compressed costs every reader; most documents are small.
ALTER TABLE entity ALTER COLUMN document SET STORAGE EXTERNAL;
CREATE INDEX entity_rid_idx ON entity (rid) WHERE rid IS NOT NULL;
CREATE INDEX entity_form_rid ON entity (form, rid) WHERE rid IS NOT NULL;
CREATE INDEX entity_expires ON entity (expires) WHERE expires IS NOT NULL;
CREATE INDEX entity_bounds ON entity USING gist (bounds) WHERE bounds IS NOT NULL;
CREATE INDEX entity_scopes ON entity USING gin (scopes) WHERE scopes IS NOT NULL;

-- Attribute index, made for the paths that queries use. `filled`: the last rid of the first filling, NULL
-- when that is done. `overflow`: some entity has more scalars at the path than are kept.
CREATE TABLE path (
  id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  tenant integer NOT NULL,
  body text NOT NULL,
  filled bigint,
  overflow boolean NOT NULL DEFAULT false
);

-- `key`: the data type in one byte, then the value in bytes that sort as the values do.
CREATE TABLE lookup (
  path integer NOT NULL,
  key bytea NOT NULL,
  rid bigint NOT NULL,
  PRIMARY KEY (path, key, rid)
);
CREATE INDEX lookup_rid ON lookup (path, rid);

-- History: see `history.Series` (a word) and `history.Point`. One of `whole`, `real` and `words` holds a
-- native value. `n` tells apart what stands at the same place.
CREATE TABLE point (
  entity bigint NOT NULL,
  at bigint NOT NULL,
  lag bigint NOT NULL,
  series integer NOT NULL,
  n integer NOT NULL,
  whole bigint,
  real double precision,
  words bytea,
  rest bytea,
  PRIMARY KEY (entity, series, at, lag, n)
);

CREATE TABLE record (
  seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  kind text NOT NULL,
  tenant integer NOT NULL,
  id text COLLATE "C" NOT NULL,
  version bigint NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (kind, tenant, id)
);

-- `holder`: the process that sends it, 0 for none (see `sender`).
CREATE TABLE delivery (
  seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  id text COLLATE "C" PRIMARY KEY,
  tenant integer NOT NULL,
  subscription text COLLATE "C" NOT NULL,
  created bigint NOT NULL,
  due bigint NOT NULL,
  attempts integer NOT NULL,
  dead boolean NOT NULL,
  error text NOT NULL,
  body bytea NOT NULL,
  holder integer NOT NULL
);
CREATE INDEX delivery_subscription ON delivery (subscription, dead, seq);
CREATE INDEX delivery_waiting ON delivery (dead, seq);
CREATE INDEX delivery_holder ON delivery (holder, seq) WHERE NOT dead;

-- Processes that send notifications. Each keeps an advisory lock of its number while it lives.
CREATE TABLE sender (id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY);

CREATE TABLE log (
  seq bigint PRIMARY KEY,
  tenant integer NOT NULL,
  id text COLLATE "C" NOT NULL,
  operation smallint NOT NULL,
  form integer NOT NULL,
  attributes integer NOT NULL,
  at bigint NOT NULL,
  actor text NOT NULL,
  depth integer NOT NULL
);

-- The forms of these digests, made where they are missing. Numbers grow without gaps as far as others can
-- see, so whoever knows the newest knows all.
CREATE FUNCTION learn_forms_1(tenants integer[], digests bytea[], bodies text[])
RETURNS TABLE (number integer, owner integer, print bytea) LANGUAGE plpgsql AS $$
BEGIN
  UPDATE knowledge SET revision = revision + 1;
  INSERT INTO form (id, tenant, digest, body)
    SELECT coalesce((SELECT max(id) FROM form), 0) + row_number() OVER (), x.tenant, x.digest, x.body
    FROM unnest(tenants, digests, bodies) x(tenant, digest, body)
    WHERE NOT EXISTS (SELECT FROM form f WHERE f.tenant = x.tenant AND f.digest = x.digest);
  RETURN QUERY SELECT f.id, f.tenant, f.digest FROM form f
    JOIN unnest(tenants, digests) x(tenant, digest) ON f.tenant = x.tenant AND f.digest = x.digest;
END $$;

CREATE FUNCTION learn_words_1(digests bytea[], bodies text[])
RETURNS TABLE (number integer, print bytea) LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO word (digest, body) SELECT * FROM unnest(digests, bodies) ORDER BY 1 ON CONFLICT DO NOTHING;
  RETURN QUERY SELECT w.id, w.digest FROM word w WHERE w.digest = ANY (digests);
END $$;

CREATE FUNCTION learn_tenant_1(wanted text) RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
  UPDATE knowledge SET revision = revision + 1;
  INSERT INTO tenant SELECT max(id) + 1, wanted, false FROM tenant ON CONFLICT DO NOTHING;
  RETURN (SELECT id FROM tenant WHERE name = wanted);
END $$;

-- Commits of one group, all or none. Nothing is written when something is not as expected: then `versions`
-- are those of the entities and `record_versions` those of the records that are there, in the order asked,
-- or `new_generation` and `new_paths` tell what differs. Raises AC001 when those two change meanwhile.
-- Names that end in `_of` point into the arrays of entities. What changed is announced to all who listen.
CREATE FUNCTION commit_1(
  _known_paths bigint, _new_tenants integer[], _relied bigint, _counted integer, _holder integer, _crowded boolean,
  -- one of each entity: `_final` version (0: gone), `_anew`: it was deleted in between
  _tenants integer[], _ids text[], _expected bigint[], _final bigint[], _anew boolean[], _recorded boolean[],
  _forms integer[], _expires bigint[],
  _moved boolean[], _wests float8[], _souths float8[], _easts float8[], _norths float8[],
  _scoped boolean[], _scopes text[], _pasts text[], _documents bytea[],
  -- entries of attribute indexes
  _less_of integer[], _less_path integer[], _less_key bytea[],
  _more_of integer[], _more_path integer[], _more_key bytea[], _overflowing integer[],
  -- points
  _point_of integer[], _series integer[], _ats bigint[], _lags bigint[], _ns integer[],
  _wholes bigint[], _reals float8[], _words bytea[], _rests bytea[],
  -- records: `_added`: how often each was written since it was (made) anew
  _record_kinds text[], _record_tenants integer[], _record_ids text[], _record_expected bigint[],
  _record_anew boolean[], _record_added integer[], _record_bodies bytea[],
  -- outbox
  _settled text[], _delivery_ids text[], _delivery_tenants integer[], _subscriptions text[], _createds bigint[],
  _dues bigint[], _attempts integer[], _deads boolean[], _errors text[], _bodies bytea[],
  -- form counts, change log
  _form_ids integer[], _form_counts integer[],
  _log_tenants integer[], _log_ids text[], _operations smallint[], _log_forms integer[],
  _attributes integer[], _log_ats bigint[], _actors text[], _depths integer[],
  OUT done boolean, OUT last_seq bigint, OUT new_generation bigint, OUT new_paths bigint,
  OUT versions bigint[], OUT record_versions bigint[]
) LANGUAGE plpgsql AS $$
DECLARE
  known boolean[];
  numbers bigint[];
  old_rids bigint[];
  rids bigint[];
BEGIN
  done := false;
  SELECT seq, generation, paths FROM city INTO last_seq, new_generation, new_paths;
  IF new_paths <> _known_paths OR new_generation <> _relied THEN
    RETURN;
  END IF;

  IF cardinality(_ids) > 0 THEN
    -- Rows are locked in the order of their keys, so that two groups cannot wait for each other.
    WITH there AS MATERIALIZED (
      SELECT w.ord, e.number, e.rid, e.version
      FROM unnest(_tenants, _ids) WITH ORDINALITY w(tenant, id, ord)
      JOIN entity e ON e.tenant = w.tenant AND e.id = w.id
      ORDER BY e.tenant, e.id FOR NO KEY UPDATE OF e
    )
    SELECT array_agg(t.number IS NOT NULL ORDER BY w.ord), array_agg(t.number ORDER BY w.ord),
      array_agg(t.rid ORDER BY w.ord), array_agg(coalesce(t.version, 0) ORDER BY w.ord)
    FROM unnest(_expected) WITH ORDINALITY w(expected, ord) LEFT JOIN there t ON t.ord = w.ord
    INTO known, numbers, old_rids, versions;
  END IF;
  IF cardinality(_record_ids) > 0 THEN
    WITH there AS MATERIALIZED (
      SELECT w.ord, r.version
      FROM unnest(_record_kinds, _record_tenants, _record_ids) WITH ORDINALITY w(kind, tenant, id, ord)
      JOIN record r ON r.kind = w.kind AND r.tenant = w.tenant AND r.id = w.id
      ORDER BY r.kind, r.tenant, r.id FOR NO KEY UPDATE OF r
    )
    SELECT array_agg(coalesce(t.version, 0) ORDER BY w.ord)
    FROM unnest(_record_expected) WITH ORDINALITY w(expected, ord) LEFT JOIN there t ON t.ord = w.ord
    INTO record_versions;
  END IF;
  IF versions <> _expected
    OR EXISTS (SELECT FROM unnest(record_versions, _record_expected) x(there, should) WHERE there <> should)
  THEN
    RETURN;
  END IF;

  IF cardinality(_ids) > 0 THEN
    SELECT array_agg(x.number), array_agg(
      CASE WHEN x.final = 0 THEN NULL WHEN NOT x.known THEN x.number
      WHEN x.anew OR x.rid IS NULL THEN nextval('entity_rid') ELSE x.rid END)
    FROM (
      SELECT coalesce(u.number, nextval('entity_rid')) AS number, u.known, u.rid, u.final, u.anew
      FROM unnest(numbers, known, old_rids, _final, _anew) u(number, known, rid, final, anew) OFFSET 0
    ) x INTO numbers, rids;

    IF true = ANY (known) THEN
      IF 0 = ANY (_final) THEN
        DELETE FROM entity e USING unnest(_tenants, _ids, _final, _recorded) x(tenant, id, final, recorded)
        WHERE e.tenant = x.tenant AND e.id = x.id AND x.final = 0 AND NOT (x.recorded OR e.recorded);
      END IF;
      UPDATE entity e SET
        version = x.final,
        rid = x.rid,
        form = x.form,
        expires = x.expires,
        recorded = e.recorded OR x.recorded,
        bounds = CASE WHEN x.moved THEN box(point(x.west, x.south), point(x.east, x.north)) ELSE e.bounds END,
        scopes = CASE WHEN x.scoped THEN x.scopes::text[] ELSE e.scopes END,
        past = CASE
          WHEN x.final <> 0 THEN CASE WHEN x.anew OR e.rid IS NULL THEN NULL ELSE e.past END
          WHEN x.anew OR e.rid IS NULL OR e.past IS NULL THEN x.past::jsonb
          ELSE jsonb_set(x.past::jsonb, '{types}', (x.past::jsonb -> 'types') || coalesce((
            SELECT jsonb_agg(t) FROM jsonb_array_elements(e.past -> 'types') t
            WHERE NOT (x.past::jsonb -> 'types') @> t), '[]'))
          END,
        document = x.document
      FROM unnest(_tenants, _ids, known, rids, _final, _anew, _recorded, _forms, _expires, _moved, _wests, _souths,
        _easts, _norths, _scoped, _scopes, _pasts, _documents)
        x(tenant, id, known, rid, final, anew, recorded, form, expires, moved, west, south,
        east, north, scoped, scopes, past, document)
      WHERE x.known AND e.tenant = x.tenant AND e.id = x.id;
    END IF;
    IF false = ANY (known) THEN
      INSERT INTO entity (tenant, id, number, rid, version, form, expires, recorded, bounds, scopes, past,
        document)
      SELECT x.tenant, x.id, x.number, x.rid, x.final, x.form, x.expires, x.recorded,
        box(point(x.west, x.south), point(x.east, x.north)), x.scopes::text[], x.past::jsonb, x.document
      FROM unnest(_tenants, _ids, known, numbers, rids, _final, _recorded, _forms, _expires, _wests, _souths,
        _easts, _norths, _scopes, _pasts, _documents)
        x(tenant, id, known, number, rid, final, recorded, form, expires, west, south,
        east, north, scopes, past, document)
      WHERE NOT x.known AND (x.final <> 0 OR x.recorded)
      ORDER BY x.tenant, x.id;
    END IF;
    IF cardinality(_less_of) > 0 THEN
      DELETE FROM lookup l USING unnest(_less_of, _less_path, _less_key) x(of, path, key)
      WHERE l.path = x.path AND l.key = x.key AND l.rid = old_rids[x.of];
    END IF;
    IF cardinality(_more_of) > 0 THEN
      INSERT INTO lookup SELECT x.path, x.key, rids[x.of] FROM unnest(_more_of, _more_path, _more_key)
        x(of, path, key) WHERE rids[x.of] IS NOT NULL ON CONFLICT DO NOTHING;
    END IF;
    IF cardinality(_point_of) > 0 THEN
      INSERT INTO point (entity, at, lag, series, n, whole, real, words, rest)
      SELECT numbers[x.of], x.at, x.lag, x.series,
        CASE WHEN _crowded THEN x.n + coalesce((
          SELECT max(p.n) + 1 FROM point p WHERE p.entity = numbers[x.of] AND p.series = x.series
          AND p.at = x.at AND p.lag = x.lag), 0) ELSE x.n END,
        x.whole, x.real, x.words, x.rest
      FROM unnest(_point_of, _series, _ats, _lags, _ns, _wholes, _reals, _words, _rests)
        x(of, series, at, lag, n, whole, real, words, rest);
    END IF;
  END IF;

  IF cardinality(_record_ids) > 0 THEN
    DELETE FROM record r
    USING unnest(_record_kinds, _record_tenants, _record_ids, _record_anew, _record_bodies)
      x(kind, tenant, id, anew, body)
    WHERE (x.anew OR x.body IS NULL) AND r.kind = x.kind AND r.tenant = x.tenant AND r.id = x.id;
    INSERT INTO record (kind, tenant, id, version, body)
    SELECT x.kind, x.tenant, x.id, x.added, x.body
    FROM unnest(_record_kinds, _record_tenants, _record_ids, _record_added, _record_bodies) WITH ORDINALITY
      x(kind, tenant, id, added, body, ord)
    WHERE x.body IS NOT NULL ORDER BY x.ord
    ON CONFLICT (kind, tenant, id)
    DO UPDATE SET version = record.version + excluded.version, body = excluded.body;
  END IF;

  IF cardinality(_settled) > 0 THEN
    DELETE FROM delivery d WHERE d.id = ANY (_settled);
  END IF;
  IF cardinality(_delivery_ids) > 0 THEN
    INSERT INTO delivery (id, tenant, subscription, created, due, attempts, dead, error, body, holder)
    SELECT x.id, x.tenant, x.subscription, x.created, x.due, x.attempts, x.dead, x.error, x.body,
      _holder
    FROM unnest(_delivery_ids, _delivery_tenants, _subscriptions, _createds, _dues, _attempts, _deads, _errors,
      _bodies) WITH ORDINALITY x(id, tenant, subscription, created, due, attempts, dead, error, body, ord)
    ORDER BY x.ord
    ON CONFLICT (id) DO UPDATE SET tenant = excluded.tenant, subscription = excluded.subscription,
      created = excluded.created, due = excluded.due, attempts = excluded.attempts, dead = excluded.dead,
      error = excluded.error, body = excluded.body, holder = excluded.holder;
  END IF;

  done := true;
  IF cardinality(_new_tenants) > 0 THEN
    UPDATE tenant SET written = true WHERE id = ANY (_new_tenants) AND NOT written;
  END IF;
  IF cardinality(_log_ids) = 0 AND _counted = 0 AND _relied IS NULL THEN
    RETURN;
  END IF;
  UPDATE city SET seq = seq + cardinality(_log_ids), generation = generation + _counted,
    paths = paths + (cardinality(_overflowing) > 0)::integer
  RETURNING seq, generation, paths INTO last_seq, new_generation, new_paths;
  IF new_paths - (cardinality(_overflowing) > 0)::integer <> _known_paths
    OR new_generation - _counted <> _relied
  THEN
    RAISE EXCEPTION 'what the commit relies on has changed' USING ERRCODE = 'AC001';
  END IF;
  IF cardinality(_overflowing) > 0 THEN
    UPDATE path SET overflow = true WHERE id = ANY (_overflowing);
    UPDATE knowledge SET revision = revision + 1;
  END IF;
  IF cardinality(_form_ids) > 0 THEN
    UPDATE form f SET entities = f.entities + x.count FROM unnest(_form_ids, _form_counts) x(id, count)
    WHERE f.id = x.id;
  END IF;
  IF cardinality(_log_ids) > 0 THEN
    INSERT INTO log
    SELECT last_seq - cardinality(_log_ids) + x.ord, x.tenant, x.id, x.operation, x.form, x.attributes, x.at,
      x.actor, x.depth
    FROM unnest(_log_tenants, _log_ids, _operations, _log_forms, _attributes, _log_ats, _actors, _depths)
      WITH ORDINALITY x(tenant, id, operation, form, attributes, at, actor, depth, ord);
  END IF;
  PERFORM pg_notify('autocity', last_seq || ' ' || new_generation || ' ' || new_paths);
END $$;
