"""Views over agno's tables: whether row security hides rows of a table that a view reads.

PostgreSQL reads those tables as the view's owner (as whoever reads it, for a `security_invoker` view), so the policies
that count are not those of the current role, and `row_security_active` knows nothing of a view.
"""

ROWS_FILTERED = """(c.relkind = 'v' AND EXISTS (
  WITH RECURSIVE sources(oid, reader) AS (SELECT c.oid, (SELECT oid FROM pg_catalog.pg_roles
      WHERE rolname = current_user)
    UNION SELECT d.refobjid, CASE WHEN EXISTS (SELECT 1 FROM pg_options_to_table(v.reloptions)
        WHERE option_name = 'security_invoker' AND option_value::boolean) THEN s.reader ELSE v.relowner END
      FROM sources s JOIN pg_catalog.pg_class v ON v.oid = s.oid AND v.relkind = 'v'
      JOIN pg_catalog.pg_rewrite w ON w.ev_class = v.oid
      JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = w.oid
        AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid <> v.oid)
  SELECT 1 FROM sources s JOIN pg_catalog.pg_class t ON t.oid = s.oid AND t.relrowsecurity
  JOIN pg_catalog.pg_roles o ON o.oid = s.reader AND NOT o.rolsuper AND NOT o.rolbypassrls
  WHERE t.relforcerowsecurity OR NOT pg_has_role(o.oid, t.relowner, 'USAGE')))"""
"""SQL: `c` of pg_class is a view, and policies filter what it reads."""
