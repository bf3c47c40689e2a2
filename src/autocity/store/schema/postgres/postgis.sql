-- Where PostGIS is there, geographic programs read the city's places from this view.
CREATE OR REPLACE VIEW autocity.place AS
SELECT t.name AS tenant, e.id, f.body::json -> 0 AS types, a.key AS attribute,
  ST_SetSRID(ST_GeomFromGeoJSON(a.geometry::text), 4326) AS geometry
FROM autocity.entity e
JOIN autocity.tenant t ON t.id = e.tenant
JOIN autocity.form f ON f.id = e.form
CROSS JOIN LATERAL (
  SELECT each.key, each.value -> 'value' AS geometry
  FROM json_each(convert_from(e.document, 'UTF8')::json -> 'attrs') each
  WHERE json_typeof(each.value) = 'object' AND each.value ->> 'type' = 'GeoProperty'
  UNION ALL
  SELECT each.key, instance -> 'value'
  FROM json_each(convert_from(e.document, 'UTF8')::json -> 'attrs') each,
    json_array_elements(CASE json_typeof(each.value) WHEN 'array' THEN each.value ELSE '[]' END) instance
  WHERE instance ->> 'kind' = 'GeoProperty'
) a
WHERE e.rid IS NOT NULL AND e.bounds IS NOT NULL;
