"""Functions and operators that somebody plants in a schema of another role's `search_path` (CVE-2018-1058)."""

PLANTED = "planted code ran"
"""The message of the error that each of them raises."""

PLANT = r"""
DO $plant$
DECLARE f record; o record;
BEGIN
  -- A better match than PostgreSQL's own function for every text argument, because columns of agno are varchar.
  FOR f IN SELECT DISTINCT p.proname, array_to_string(ARRAY(SELECT CASE WHEN t = 25 THEN 'varchar'
        ELSE format_type(t, NULL) END FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY x(t, n) ORDER BY n), ', ')
      AS arguments,
      format_type(p.prorettype, NULL) AS result
    FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND NOT p.proretset
      AND 25 = ANY (p.proargtypes::oid[]) AND p.provariadic = 0
      AND NOT EXISTS (SELECT FROM pg_type t WHERE t.typtype = 'p' AND (t.oid = p.prorettype
        OR t.oid = ANY (p.proargtypes::oid[])))
  LOOP
    EXECUTE format('CREATE OR REPLACE FUNCTION public.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L',
      f.proname, f.arguments, f.result, 'BEGIN RAISE ''planted code ran''; END');
  END LOOP;
  FOR o IN SELECT oprname, CASE WHEN l = 25 THEN 'varchar' ELSE format_type(l, NULL) END AS l,
      CASE WHEN r = 25 THEN 'varchar' ELSE format_type(r, NULL) END AS r, format_type(oprresult, NULL) AS result,
      row_number() OVER () AS number
    FROM (SELECT oprname, oprleft AS l, oprright AS r, oprresult FROM pg_operator
      WHERE oprnamespace = 'pg_catalog'::regnamespace AND oprkind = 'b' AND 25 IN (oprleft, oprright)) o
    WHERE NOT EXISTS (SELECT FROM pg_type t WHERE t.typtype = 'p' AND t.oid IN (l, r))
  LOOP
    EXECUTE format('CREATE FUNCTION public.planted_%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS %L',
      o.number, o.l, o.r, o.result, 'BEGIN RAISE ''planted code ran''; END');
    EXECUTE format('CREATE OPERATOR public.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = public.planted_%s)',
      o.oprname, o.l, o.r, o.number);
  END LOOP;
END $plant$;
"""
"""Overloads in `public` of every function and binary operator of PostgreSQL that has a text argument."""
