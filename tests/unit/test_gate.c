// links: weir_gateway weir_engine weir_fs weir_index
/* tests/unit/test_gate.c - which SQL passes the gate, by DuckDB's real trees; what passes runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "gateway/gate_internal.h"
#include "tests/support/gate_fixture.h"

struct gate_case {
    const char *sql;
    int code; /* of the refusal; 0: it passes and runs */
};

static int open_fixture(void **state)
{
    static struct fixture f;
    *state = &f;
    if (fixture_open(&f) == ERR_OK)
        return 0;
    print_error("%s\n", f.err.msg);
    return -1;
}

static int close_fixture(void **state)
{
    fixture_close(*state);
    return 0;
}

static void check_case(struct fixture *f, const struct gate_case *c)
{
    char first[256];
    uint64_t rows;
    enum err_code rc = fixture_check(f, c->sql);
    if (c->code) {
        if (!rc || f->err.detail != c->code)
            fail_msg("%s\n  gave %d %d %s", c->sql, (int)rc, f->err.detail, f->err.msg);
        assert_int_equal(err_http_status(rc), 400);
        return;
    }
    if (rc)
        fail_msg("%s\n  was refused: %d %s", c->sql, f->err.detail, f->err.msg);
    if (fixture_run(f, f->result.document, first, sizeof first, &rows))
        fail_msg("%s\n  does not run: %s", c->sql, f->err.msg);
    const struct json *count = gate_count_document(f->result.document, &f->arena);
    assert_non_null(count);
    if (fixture_run(f, count, first, sizeof first, &rows) || rows != 1)
        fail_msg("%s\n  cannot be counted: %s", c->sql, f->err.msg);
}

static void check_all(void **state, const struct gate_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        check_case(*state, &cases[i]);
}
#define CHECK_ALL(state, cases) check_all(state, cases, ARRAY_LEN(cases))

static void selects_of_every_kind_pass_and_run(void **state)
{
    static const struct gate_case cases[] = {
        {"SELECT * FROM k8slogs", 0},
        {"select level, count(*) as c from \"default\" group by level order by c desc", 0},
        {"SELECT * FROM \"K8sLogs\" WHERE level = 'info' LIMIT 3", 0},
        {"SELECT k8slogs.level FROM k8slogs", 0},
        {"SELECT \"default\".level FROM \"default\" WHERE \"default\".i > 3", 0},
        {"SELECT * FROM 'k8slogs'", 0},
        {"FROM k8slogs", 0},
        {"FROM k8slogs SELECT i", 0},
        {"TABLE k8slogs", 0},
        {"VALUES (1, 'a'), (2, 'b')", 0},
        {"SELECT 1", 0},
        {"SELECT i FROM k8slogs LIMIT 1;", 0},
        {"SELECT i FROM k8slogs; ;", 0},
        {"SELECT /* c */ i -- d\n FROM k8slogs", 0},
        {"SELECT DISTINCT level FROM k8slogs", 0},
        {"SELECT DISTINCT ON (level) level, i FROM k8slogs ORDER BY level, i", 0},
        {"SELECT i AS user, \"user\" FROM k8slogs", 0},
        {"SELECT user FROM plain", 0},
        {"SELECT * EXCLUDE (log) REPLACE (i + 1 AS i) RENAME (dur AS duration) FROM k8slogs", 0},
        {"SELECT COLUMNS('l.*') FROM k8slogs", 0},
        {"SELECT COLUMNS(c -> c LIKE 'l%') FROM k8slogs", 0},
        {"SELECT min(COLUMNS(* EXCLUDE (ok))) FROM k8slogs", 0},
        {"SELECT k.* FROM k8slogs k WHERE k.i BETWEEN 1 AND 3 OR k.i IN (5, 6)", 0},
        {"SELECT i FROM k8slogs WHERE log LIKE 'GET%' AND note ILIKE '%note%'", 0},
        {"SELECT i FROM k8slogs WHERE log ~ 'GET.*' AND log !~ 'x' AND log GLOB 'G*'", 0},
        {"SELECT i FROM k8slogs WHERE log SIMILAR TO 'GET.*' OR log LIKE 'a\\%' ESCAPE '\\'", 0},
        {"SELECT i FROM k8slogs WHERE message IS NULL AND i IS NOT NULL AND ok IS NOT TRUE", 0},
        {"SELECT i FROM k8slogs WHERE i IS DISTINCT FROM 3 AND NOT ok", 0},
        {"SELECT level COLLATE NOCASE FROM k8slogs ORDER BY level COLLATE NOCASE DESC", 0},
        {"SELECT CASE WHEN i > 3 THEN 'a' ELSE 'b' END, CASE i WHEN 1 THEN 2 END FROM k8slogs", 0},
        {"SELECT CAST(i AS VARCHAR), i::DOUBLE, TRY_CAST(log AS BIGINT) FROM k8slogs", 0},
        {"SELECT CAST({'a': 1} AS STRUCT(a BIGINT)), [1]::DOUBLE[], CAST('[1]' AS JSON)", 0},
        {"SELECT 1.5, 1e10, 99999999999999999999, -1, 'it''s', NULL, TRUE, 0x1f, 1_000", 0},
        {"SELECT INTERVAL '1 day', INTERVAL 3 HOUR, DATE '2024-01-01', TIME '10:00:00'", 0},
        {"SELECT i + 1, i - 1, i * 2, i / 2, i // 2, i % 2, i ** 2, -i, ~i, i & 1 FROM k8slogs", 0},
        {"SELECT {'a': 1}.a, [1, 2][1], [1, 2, 3][1:2], MAP {'k': 1}['k'], (1, 2)", 0},
        {"SELECT list_transform([1], x -> x + 1), [x + 1 FOR x IN [1, 2] IF x > 1]", 0},
        {"SELECT list_reduce([1, 2], lambda x, y: x + y)", 0},
        {"SELECT '{\"a\": 1}'::JSON -> 'a', '{\"a\": 1}'::JSON ->> 'a'", 0},
        {"SELECT unnest([1, 2]), unnest([[1]], recursive := true)", 0},
        {"SELECT ARRAY(SELECT i FROM k8slogs)", 0},
        {"SELECT count(*), count(i), count(DISTINCT level), sum(i) FILTER (WHERE ok) FROM k8slogs",
         0},
        {"SELECT string_agg(level, ',' ORDER BY i), first(i ORDER BY i DESC) FROM k8slogs", 0},
        {"SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY i), median(i) FROM k8slogs", 0},
        {"SELECT approx_distinct(level), approx_percentile_cont(i, 0.9) FROM k8slogs", 0},
        {"SELECT level, GROUPING(level) FROM k8slogs GROUP BY ROLLUP (level, ok)", 0},
        {"SELECT count(*) FROM k8slogs GROUP BY GROUPING SETS ((level), (ok), ())", 0},
        {"SELECT level, count(*) FROM k8slogs GROUP BY ALL HAVING count(*) > 1 ORDER BY ALL", 0},
        {"SELECT i, row_number() OVER (PARTITION BY level ORDER BY i DESC NULLS LAST) FROM k8slogs",
         0},
        {"SELECT sum(i) OVER w, lag(i, 1, 0) OVER w, ntile(4) OVER w FROM k8slogs "
         "WINDOW w AS (PARTITION BY ok ORDER BY i)",
         0},
        {"SELECT avg(i) OVER (ORDER BY i ROWS BETWEEN 1 PRECEDING AND 2 FOLLOWING EXCLUDE TIES) "
         "FROM k8slogs",
         0},
        {"SELECT first_value(level IGNORE NULLS) OVER (ORDER BY i) FROM k8slogs", 0},
        {"SELECT i FROM k8slogs QUALIFY rank() OVER (PARTITION BY level ORDER BY i) = 1", 0},
        {"SELECT a.i FROM k8slogs a JOIN \"default\" b ON a.i = b.i LEFT JOIN plain c ON c.value = "
         "a.dur",
         0},
        {"SELECT i FROM k8slogs a JOIN \"default\" b USING (i)", 0},
        {"SELECT a.i FROM k8slogs a NATURAL JOIN \"default\" b", 0},
        {"SELECT count(*) FROM k8slogs a, \"default\" b", 0},
        {"SELECT a.i FROM k8slogs a CROSS JOIN plain b", 0},
        {"SELECT i FROM k8slogs SEMI JOIN plain ON k8slogs.dur = plain.value", 0},
        {"SELECT i FROM k8slogs ANTI JOIN plain ON k8slogs.dur = plain.value", 0},
        {"SELECT a.i FROM k8slogs a ASOF JOIN \"default\" b ON a._timestamp >= b._timestamp", 0},
        {"SELECT x.j FROM k8slogs a, LATERAL (SELECT a.i + 1 AS j) x", 0},
        {"SELECT x.j FROM k8slogs a, LATERAL (SELECT b.i AS j FROM k8slogs b WHERE b.i = a.i) x",
         0},
        {"SELECT a.i FROM k8slogs a POSITIONAL JOIN \"default\" b", 0},
        {"SELECT * FROM (SELECT i, level FROM k8slogs) x(a, b) WHERE b = 'info'", 0},
        {"SELECT i FROM k8slogs WHERE i = (SELECT max(i) FROM k8slogs)", 0},
        {"SELECT i FROM k8slogs WHERE i IN (SELECT i FROM \"default\") AND i > ALL (SELECT 3)", 0},
        {"SELECT i FROM k8slogs a WHERE EXISTS (SELECT 1 FROM k8slogs b WHERE b.i = a.i + 1)", 0},
        {"SELECT i FROM k8slogs UNION ALL SELECT i FROM \"default\" ORDER BY 1 LIMIT 3", 0},
        {"SELECT i FROM k8slogs UNION SELECT 1 EXCEPT SELECT 2 INTERSECT SELECT 3", 0},
        {"SELECT i FROM k8slogs UNION ALL BY NAME SELECT dur FROM k8slogs", 0},
        {"WITH a AS (SELECT i FROM k8slogs), b AS (SELECT * FROM a) SELECT * FROM b, a", 0},
        {"WITH a AS MATERIALIZED (SELECT i FROM k8slogs) SELECT a.i FROM a JOIN a b ON a.i = b.i",
         0},
        {"WITH k8slogs AS (SELECT * FROM k8slogs LIMIT 3) SELECT count(*) FROM k8slogs", 0},
        {"WITH RECURSIVE r AS (SELECT 1 n UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT * FROM "
         "r",
         0},
        {"WITH RECURSIVE r(n) AS (SELECT 1 UNION SELECT n + 1 FROM r WHERE n < 5) SELECT n FROM r "
         "x",
         0},
        {"WITH RECURSIVE r USING KEY (n) AS (SELECT 1 n, 2 m UNION SELECT n + 1, m FROM r WHERE n "
         "< "
         "3) SELECT n FROM r",
         0},
        {"SELECT * FROM unnest([1, 2]) u(a), generate_series(1, 2) g(b), range(3) r(c)", 0},
        {"SELECT key FROM json_each('{\"a\": 1}')", 0},
        {"SELECT * FROM k8slogs PIVOT (sum(i) FOR level IN ('info', 'error') GROUP BY ok)", 0},
        {"PIVOT k8slogs ON level IN ('info', 'error') USING sum(i) GROUP BY ok", 0},
        {"UNPIVOT (SELECT i, body FROM k8slogs) ON i, body INTO NAME k VALUE v", 0},
        {"SELECT * FROM k8slogs USING SAMPLE 3 ROWS", 0},
        {"SELECT * FROM k8slogs TABLESAMPLE reservoir(20%)", 0},
        {"SELECT i FROM k8slogs LIMIT 10%", 0},
        {"SELECT i FROM k8slogs LIMIT (SELECT 3)", 0},
        {"SELECT i FROM k8slogs LIMIT NULL", 0},
        {"SELECT i FROM k8slogs LIMIT 5 OFFSET 2", 0},
        {"SELECT i FROM k8slogs OFFSET 2", 0},
        {"SELECT #1 FROM k8slogs", 0},
        {"SELECT x: i FROM k8slogs", 0},
        {"SELECT COALESCE(message, note), ifnull(message, 'x'), nvl(message, 'y') FROM k8slogs", 0},
        {"SELECT nullif(i, 3), if(ok, 1, 2), greatest(i, 3), least(i, 3) FROM k8slogs", 0},
        {"SELECT extract(year FROM to_timestamp_micros(_timestamp)), substring(log FROM 1 FOR 2), "
         "position('G' IN log), trim(BOTH 'x' FROM log) FROM k8slogs",
         0},
        {"SELECT current_date, current_timestamp, now(), to_timestamp_micros(1) AT TIME ZONE 'UTC'",
         0},
        {"SELECT TRY(CAST('x' AS INT))", 0},
        {"SELECT k8slogs FROM k8slogs", 0},
        {"SELECT main.upper('a')", 0},
        {"EXPLAIN SELECT i FROM k8slogs", 0},
        {"explain analyze select i from k8slogs", 0},
        {"SELECT * FROM logs.k8slogs", 0},
        {"SELECT cpu.value, metrics.cpu.host FROM metrics.cpu", 0},
        {"SELECT a.i, b.host FROM k8slogs a JOIN enrich.hosts b ON a.note = b.user", 0},
        {"SELECT * FROM enrichment_tables.hosts, traces.spans s LIMIT 1", 0},
        {"SELECT * FROM \"Logs\".\"K8sLogs\"", 0},
    };
    CHECK_ALL(state, cases);
}

static void files_and_functions_that_read_them_are_refused(void **state)
{
    static const struct gate_case cases[] = {
        {"SELECT * FROM '/etc/passwd'", 20002},
        {"SELECT * FROM \"/etc/passwd\"", 20002},
        {"SELECT * FROM 'file.parquet'", 20002},
        {"SELECT * FROM 'x.csv' AS k8slogs", 20002},
        {"SELECT * FROM 's3://bucket/key.parquet'", 20002},
        {"SELECT * FROM 'data/*.ndjson'", 20002},
        {"SELECT * FROM \"a\".\"/etc/passwd\"", 20002},
        {"SELECT * FROM read_csv('/etc/passwd')", 20005},
        {"SELECT * FROM read_csv_auto('/etc/passwd', header := true)", 20005},
        {"SELECT * FROM read_text('/etc/passwd')", 20005},
        {"SELECT * FROM read_blob('/etc/passwd')", 20005},
        {"SELECT * FROM read_json('/etc/passwd')", 20005},
        {"SELECT * FROM read_ndjson_objects('x')", 20005},
        {"SELECT * FROM read_parquet(['a', 'b'])", 20005},
        {"SELECT * FROM parquet_scan('x')", 20005},
        {"SELECT * FROM parquet_metadata('x')", 20005},
        {"SELECT * FROM read_duckdb('x')", 20005},
        {"SELECT * FROM sniff_csv('/etc/passwd')", 20005},
        {"SELECT * FROM glob('/etc/*')", 20005},
        {"SELECT * FROM \"READ_TEXT\"('/etc/passwd')", 20005},
        {"SELECT * FROM /* x */ read_text /* y */ ('/etc/passwd')", 20005},
        {"SELECT * FROM query('SELECT 1')", 20005},
        {"SELECT * FROM query_table('k8slogs')", 20005},
        {"SELECT * FROM query_table(['k8slogs', '/etc/passwd'])", 20005},
        {"SELECT * FROM main.read_text('/etc/passwd')", 20005},
        {"SELECT * FROM system.main.read_text('/etc/passwd')", 20001},
        {"SELECT * FROM json_execute_serialized_sql('{}')", 20005},
        {"SELECT * FROM seq_scan('k8slogs')", 20005},
        {"SELECT * FROM arrow_scan(1, 2, 3)", 20005},
        {"SELECT * FROM k8slogs, LATERAL read_text(k8slogs.log)", 20005},
        {"SELECT * FROM k8slogs, read_text('/etc/passwd')", 20005},
        {"SELECT * FROM k8slogs JOIN read_text('/etc/passwd') x ON true", 20005},
        {"SELECT * FROM (SELECT * FROM read_text('/etc/passwd'))", 20005},
        {"SELECT (SELECT content FROM read_text('/etc/passwd'))", 20005},
        {"SELECT i FROM k8slogs WHERE EXISTS (FROM read_text('/etc/passwd'))", 20005},
        {"SELECT i FROM k8slogs WHERE log IN (SELECT content FROM read_text('/etc/passwd'))",
         20005},
        {"SELECT i FROM k8slogs ORDER BY (SELECT content FROM read_text('/etc/passwd'))", 20005},
        {"SELECT i FROM k8slogs LIMIT (SELECT count(*) FROM read_text('/etc/passwd'))", 20005},
        {"SELECT i FROM k8slogs GROUP BY i HAVING max(i) > (SELECT 1 FROM '/etc/passwd')", 20002},
        {"SELECT i FROM k8slogs QUALIFY (SELECT true FROM '/etc/passwd')", 20002},
        {"SELECT rank() OVER (ORDER BY (SELECT 1 FROM '/etc/passwd')) FROM k8slogs", 20002},
        {"SELECT sum(i) FILTER (WHERE (SELECT true FROM '/etc/passwd')) FROM k8slogs", 20002},
        {"SELECT string_agg(log, ',' ORDER BY (SELECT 1 FROM '/etc/passwd')) FROM k8slogs", 20002},
        {"SELECT CASE WHEN true THEN (SELECT 1 FROM '/etc/passwd') END", 20002},
        {"SELECT list_transform([1], x -> (SELECT 1 FROM '/etc/passwd'))", 20002},
        {"SELECT * REPLACE ((SELECT 1 FROM '/etc/passwd') AS i) FROM k8slogs", 20002},
        {"SELECT * FROM range((SELECT count(*) FROM '/etc/passwd'))", 20002},
        {"SELECT * FROM (VALUES ((SELECT 1 FROM '/etc/passwd')))", 20002},
        {"SELECT * FROM '/etc/passwd' PIVOT (count(*) FOR a IN (1))", 20002},
        {"SELECT 1 UNION ALL SELECT 1 FROM '/etc/passwd'", 20002},
        {"WITH a AS (SELECT * FROM '/etc/passwd') SELECT 1", 20002},
        {"WITH \"/etc/passwd\" AS (SELECT * FROM '/etc/passwd') SELECT 1", 20002},
        {"WITH RECURSIVE \"/etc/passwd\" AS (SELECT * FROM '/etc/passwd' UNION ALL SELECT * FROM "
         "'/etc/passwd') SELECT * FROM '/etc/passwd'",
         20002},
        {"SELECT * FROM b, (WITH b AS (SELECT 1) SELECT * FROM b) x", 20002},
        {"WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a", 20002},
        {"SELECT (WITH b AS (SELECT 1) SELECT 1) FROM b", 20002},
        {"WITH b AS (SELECT 1) SELECT * FROM logs.b", 20002},
        {"WITH b AS (SELECT 1) SELECT * FROM main.b", 20002},
    };
    CHECK_ALL(state, cases);
}

static void other_statements_are_refused(void **state)
{
    static const struct gate_case cases[] = {
        {"SELECT 1; SELECT 2", 20001},
        {"SELECT 1; DROP TABLE k8slogs", 20001},
        {"-- nothing", 20001},
        {"/* nothing */ ;", 20001},
        {"CREATE TABLE x AS SELECT 1", 20001},
        {"CREATE TEMP VIEW weir_t0 AS SELECT 1", 20001},
        {"CREATE MACRO upper(x) AS 1", 20001},
        {"CREATE SECRET s (TYPE s3)", 20001},
        {"INSERT INTO k8slogs VALUES (1)", 20001},
        {"UPDATE k8slogs SET i = 1", 20001},
        {"DELETE FROM k8slogs", 20001},
        {"MERGE INTO k8slogs USING k8slogs a ON true WHEN MATCHED THEN DELETE", 20001},
        {"DROP TABLE k8slogs", 20001},
        {"ALTER TABLE k8slogs ADD COLUMN x INT", 20001},
        {"COPY k8slogs TO '/tmp/x'", 20001},
        {"COPY (SELECT 1) TO '/tmp/x' (FORMAT parquet)", 20001},
        {"COPY k8slogs FROM '/etc/passwd'", 20001},
        {"ATTACH '/tmp/x.db' AS x", 20001},
        {"DETACH x", 20001},
        {"USE memory", 20001},
        {"INSTALL httpfs", 20001},
        {"LOAD httpfs", 20001},
        {"SET threads = 1", 20001},
        {"SET VARIABLE x = 1", 20001},
        {"RESET threads", 20001},
        {"PRAGMA version", 20001},
        {"PRAGMA database_list", 20001},
        {"CALL pragma_version()", 20001},
        {"EXPORT DATABASE '/tmp/x'", 20001},
        {"IMPORT DATABASE '/tmp/x'", 20001},
        {"CHECKPOINT", 20001},
        {"VACUUM", 20001},
        {"BEGIN", 20001},
        {"PREPARE p AS SELECT 1", 20001},
        {"EXECUTE p", 20001},
        {"EXPLAIN EXPLAIN SELECT 1", 20001},
        {"EXPLAIN DROP TABLE k8slogs", 20001},
        {"EXPLAIN (FORMAT json) SELECT 1", 20001},
        {"SHOW TABLES", 20001},
        {"SHOW ALL TABLES", 20001},
        {"SHOW k8slogs", 20001},
        {"DESCRIBE k8slogs", 20001},
        {"DESCRIBE SELECT 1", 20001},
        {"SUMMARIZE k8slogs", 20001},
        {"SELECT * FROM (SHOW TABLES)", 20001},
        {"SELECT * FROM (DESCRIBE k8slogs)", 20001},
        {"SELECT * FROM (SUMMARIZE k8slogs)", 20001},
        {"PIVOT k8slogs ON level USING sum(i)", 20001},
        {"SELECT * FROM k8slogs PIVOT (sum(i) FOR level IN my_enum)", 20001},
        {"SELECT * INTO x FROM k8slogs", 20001},
        {"SELECT * FROM k8slogs FOR UPDATE", 20001},
        {"SELECT * FROM k8slogs AT (VERSION => 1)", 20001},
        {"SELECT $1", 20001},
        {"SELECT ?", 20001},
        {"SELECT $name", 20001},
        {"SELECT DEFAULT", 20001},
        {"SELEC 1", 20001},
        {"SELECT * FROM", 20001},
        {"SELECT 'open", 20001},
        {"SELECT i FROM my-stream", 20001},
    };
    CHECK_ALL(state, cases);
}

static void functions_outside_the_list_are_refused(void **state)
{
    static const struct gate_case cases[] = {
        {"SELECT nosuchfn(i) FROM k8slogs", 20005},
        {"SELECT getenv('HOME')", 20005},
        {"SELECT GETENV('HOME')", 20005},
        {"SELECT \"GetEnv\"('HOME')", 20005},
        {"SELECT current_setting('threads')", 20005},
        {"SELECT getvariable('x')", 20005},
        {"SELECT version()", 20005},
        {"SELECT current_database(), current_schema()", 20005},
        {"SELECT current_query()", 20005},
        {"SELECT current_user", 20004},
        {"SELECT session_user FROM k8slogs", 20004},
        {"SELECT user FROM k8slogs", 20004},
        {"SELECT current_schema", 20004},
        {"SELECT nextval('s')", 20005},
        {"SELECT txid_current()", 20005},
        {"SELECT setseed(0.5)", 20005},
        {"SELECT sleep_ms(1000)", 20005},
        {"SELECT pg_sleep(1)", 20005},
        {"SELECT write_log('x')", 20005},
        {"SELECT json_serialize_sql('SELECT 1')", 20005},
        {"SELECT json_deserialize_sql('{}')", 20005},
        {"SELECT in_search_path('a', 'b')", 20005},
        {"SELECT stats(i) FROM k8slogs", 20005},
        {"SELECT __internal_compress_string_ubigint('a')", 20005},
        {"SELECT read_text('/etc/passwd')", 20005},
        {"SELECT weir_histogram(1, 2)", 20005},
        {"SELECT weir_match_words('a', 'b')", 20005},
        {"SELECT weir_scan(1)", 20005},
        {"SELECT pragma_version()", 20005},
        {"SELECT * FROM pragma_version()", 20005},
        {"SELECT * FROM duckdb_settings()", 20005},
        {"SELECT * FROM duckdb_secrets()", 20005},
        {"SELECT * FROM duckdb_tables()", 20005},
        {"SELECT * FROM pragma_table_info('k8slogs')", 20005},
        {"SELECT * FROM test_all_types()", 20005},
        {"SELECT * FROM repeat_row(1, num_rows = 3)", 20005},
        {"SELECT * FROM summary((FROM k8slogs))", 20005},
        {"SELECT * FROM upper('a')", 20005},
        {"SELECT * FROM sum(1)", 20005},
        {"SELECT row_number() FROM k8slogs", 20005},
        {"SELECT upper(log) OVER () FROM k8slogs", 20005},
        {"SELECT json_each('{}')", 20005},
        {"SELECT max(getenv(log)) FROM k8slogs", 20005},
        {"SELECT upper(lower(getenv('HOME')))", 20005},
        {"SELECT count(*) FILTER (WHERE getenv('A') = 'b') FROM k8slogs", 20005},
        {"SELECT sum(i) OVER (PARTITION BY getenv('A')) FROM k8slogs", 20005},
        {"SELECT list_transform([1], x -> getenv('A'))", 20005},
        {"SELECT COLUMNS(c -> getenv(c) = 'a') FROM k8slogs", 20005},
        {"SELECT i FROM k8slogs GROUP BY getenv('A')", 20005},
        {"SELECT i FROM k8slogs ORDER BY getenv('A')", 20005},
        {"SELECT DISTINCT ON (getenv('A')) i FROM k8slogs", 20005},
        {"SELECT i FROM k8slogs LIMIT getenv('A')::INT", 20005},
        {"SELECT log.upper() FROM k8slogs", 20001},
        {"SELECT pg_catalog.upper('a')", 20001},
        {"SELECT system.main.upper('a')", 20001},
        {"SELECT sum(i) EXPORT_STATE FROM k8slogs", 20001},
        {"SELECT 'a'::my_type", 20001},
        {"SELECT 'a'::main.my_type", 20001},
        {"SELECT '1.2.3.4'::INET", 20001},
        {"SELECT 'a'::ENUM ('a', 'b')", 20001},
        {"SELECT level COLLATE de FROM k8slogs", 20001},
    };
    CHECK_ALL(state, cases);
}

static void only_streams_of_the_callers_organisation_can_be_named(void **state)
{
    static const struct gate_case cases[] = {
        {"SELECT * FROM nosuch", 20002},
        {"SELECT * FROM metrics.k8slogs", 20002},
        {"SELECT * FROM other.k8slogs", 20002},
        {"SELECT * FROM \"other\".\"default\"", 20002},
        {"SELECT * FROM other.logs.k8slogs", 20002},
        {"SELECT * FROM main.k8slogs", 20002},
        {"SELECT * FROM memory.main.k8slogs", 20002},
        {"SELECT * FROM temp.k8slogs", 20002},
        {"SELECT * FROM temp.weir_t0", 20002},
        {"SELECT * FROM weir_t0", 20002},
        {"SELECT * FROM weir_c0", 20002},
        {"WITH x AS (SELECT 1) SELECT * FROM weir_c0", 20002},
        {"SELECT * FROM k8slogs, weir_t0", 20002},
        {"SELECT * FROM of_1", 20002},
        {"SELECT * FROM information_schema.tables", 20002},
        {"SELECT * FROM pg_catalog.pg_class", 20002},
        {"SELECT * FROM sqlite_master", 20002},
        {"SELECT * FROM duckdb_settings", 20002},
        {"SELECT * FROM \"../other/logs/x\"", 20002},
        {"SELECT * FROM \"other/logs/x\"", 20002},
        {"SELECT * FROM \"\"", 20001},
        {"SELECT * FROM recurring.k8slogs", 20002},
    };
    CHECK_ALL(state, cases);
}

static void limits_are_kept(void **state)
{
    static const struct gate_case cases[] = {
        {"SELECT i FROM k8slogs LIMIT 10000000", 0},
        {"SELECT i FROM k8slogs LIMIT 10000001", 20001},
        {"SELECT i FROM k8slogs LIMIT 99999999999999999999", 20001},
        {"SELECT i FROM k8slogs LIMIT -1", 20008},
        {"SELECT i FROM k8slogs LIMIT 'x'", 20001},
    };
    CHECK_ALL(state, cases);
}

/* "SELECT * FROM (" n times, a stream, and the brackets that close. */
static void nest(struct buf *sql, int n)
{
    for (int i = 0; i < n; i++)
        buf_add_cstr(sql, "SELECT * FROM (");
    buf_add_cstr(sql, "SELECT i FROM k8slogs");
    for (int i = 0; i < n; i++)
        buf_printf(sql, ") x%d", i);
}

static void deep_nesting_is_refused_and_long_statements_pass(void **state)
{
    struct fixture *f = *state;
    struct buf sql;
    buf_init(&sql, 1u << 20);
    nest(&sql, GATE_NESTING_MAX - 1);
    check_case(f, &(struct gate_case){sql.data, 0});
    buf_clear(&sql);
    nest(&sql, 30);
    check_case(f, &(struct gate_case){sql.data, 20001});
    buf_clear(&sql);
    buf_add_cstr(&sql, "SELECT ");
    for (int i = 0; i < 1000; i++)
        buf_add_cstr(&sql, "(");
    buf_add_cstr(&sql, "1");
    for (int i = 0; i < 1000; i++)
        buf_add_cstr(&sql, "+1)");
    assert_int_not_equal(fixture_check(f, sql.data), ERR_OK);
    buf_clear(&sql);
    buf_add_cstr(&sql, "SELECT i FROM k8slogs WHERE i IN (0");
    for (int i = 1; i < 5000; i++)
        buf_printf(&sql, ",%d", i);
    buf_add_cstr(&sql, ")");
    check_case(f, &(struct gate_case){sql.data, 0});
    buf_clear(&sql);
    buf_add_cstr(&sql, "SELECT 0");
    for (int i = 1; i < 60; i++)
        buf_printf(&sql, " UNION ALL SELECT %d", i);
    check_case(f, &(struct gate_case){sql.data, 0});
    buf_done(&sql);
}

/* ---- names that look like SQL ---- */

static const char *const odd_names[] = {
    "a FROM read_text('/etc/passwd') --",
    "x\" FROM read_text('/etc/passwd') --",
    "x' || getenv('HOME') || '",
    "a\"b",
    "\"",
    "'",
    "a b",
    "a.b",
    "select",
    "A",
    "a\nb",
    "a; SELECT 2",
    "\303\251",
    "a\\",
    "(",
    "--",
    "/*",
    "$1",
    "?",
    "x\") AS (SELECT 1",
};

/* ~ is the name as an identifier, ^ as a text. */
static const char *const odd_templates[] = {
    "SELECT 1 AS ~",
    "SELECT t.~ FROM k8slogs t",
    "SELECT ~.i FROM k8slogs AS ~",
    "SELECT ~.* FROM k8slogs AS ~",
    "SELECT ~.* EXCLUDE (i) FROM k8slogs AS ~",
    "SELECT COLUMNS(~.*) FROM k8slogs AS ~",
    "SELECT min(COLUMNS(~.*)) FROM k8slogs AS ~",
    "SELECT count(~.*) FROM k8slogs AS ~",
    "SELECT struct_pack(~.*) FROM k8slogs AS ~",
    "SELECT * EXCLUDE (~) FROM k8slogs",
    "SELECT * EXCLUDE (t.~) FROM k8slogs t",
    "SELECT * REPLACE (1 AS ~) FROM k8slogs",
    "SELECT * RENAME (i AS ~) FROM k8slogs",
    "SELECT * RENAME (~ AS i) FROM k8slogs",
    "SELECT ^, ^::VARCHAR, INTERVAL ^, DATE ^",
    "SELECT CAST(i AS STRUCT(~ INT)), {^: 1}, struct_pack(~ := 1), (i).~, MAP {^: 1}",
    "SELECT list_transform([1], ~ -> ~ + 1), list_transform([1], lambda ~: ~ + 1)",
    "SELECT [~ + 1 FOR ~ IN [1]], COLUMNS(^), COLUMNS(~ -> ~ LIKE 'a') FROM k8slogs",
    "SELECT i LIKE ^ ESCAPE ^, i SIMILAR TO ^, i ~ ^, i ->> ^ FROM k8slogs",
    "SELECT i FROM k8slogs x(~)",
    "SELECT i FROM (SELECT 1) ~(~)",
    "SELECT i FROM (VALUES (1)) ~(~)",
    "SELECT i FROM unnest([1]) ~(~), range(1) ~",
    "WITH ~(~) AS (SELECT 1) SELECT ~ FROM ~",
    "WITH RECURSIVE ~(~) AS (SELECT 1 UNION SELECT 1 FROM ~) SELECT * FROM ~",
    "WITH RECURSIVE ~ USING KEY (~) AS (SELECT 1 AS ~ UNION SELECT ~ FROM ~) SELECT ~ FROM ~",
    "SELECT * FROM k8slogs a JOIN k8slogs b USING (~)",
    "SELECT * FROM k8slogs PIVOT (sum(~) AS ~ FOR ~ IN (^ AS ~) GROUP BY ~) ~(~)",
    "SELECT * FROM k8slogs UNPIVOT (~ FOR ~ IN (~ AS ^))",
    "UNPIVOT k8slogs ON ~ INTO NAME ~ VALUE ~",
    "SELECT sum(i) OVER ~ FROM k8slogs WINDOW ~ AS (PARTITION BY ~ ORDER BY ~)",
    "SELECT string_agg(~, ^ ORDER BY ~) FILTER (WHERE ~) FROM k8slogs GROUP BY ~ HAVING ~",
    "SELECT DISTINCT ON (~) i FROM k8slogs QUALIFY ~ ORDER BY ~ COLLATE NOCASE",
    "SELECT extract(year FROM ~), ~ AT TIME ZONE ^, trim(BOTH ^ FROM ~), date_part(^, ~)",
    "SELECT CASE WHEN ~ THEN ^ END, ~ IN (^), ~ BETWEEN ^ AND ^, ~[1:2], coalesce(~, ^)",
    "SELECT i FROM k8slogs WHERE match_all(^)",
    "SELECT histogram(~, '1 hour') AS ~ FROM k8slogs",
    "SELECT i FROM (SELECT log AS ~, ~.* FROM k8slogs AS ~) AS ~ WHERE match_all(^)",
};

static void add_odd_sql(struct buf *sql, const char *template, const char *name)
{
    for (const char *p = template; *p; p++) {
        bool operator= * p == '~' && p> template && p[-1] == ' ' && p[1] == ' ' && p[2] == '^';
        char quote = *p == '^' ? '\'' : '"';
        if ((*p != '~' && *p != '^') || operator) {
            buf_add_char(sql, *p);
            continue;
        }
        buf_add_char(sql, quote);
        for (const char *c = name; *c; c++) {
            if (*c == quote)
                buf_add_char(sql, quote);
            buf_add_char(sql, *c);
        }
        buf_add_char(sql, quote);
    }
}

/* No file, no function outside the list: what the engine will see when it reads its own SQL. */
static bool is_harmless(const struct json *v)
{
    for (const struct json *child = v->first; child; child = child->next) {
        struct str text = json_str(child, STR(""));
        if (str_eq(child->key, STR("table_name")) && !str_starts(text, STR("weir_")))
            return false;
        if (str_eq(child->key, STR("function_name")) && !str_starts(text, STR("weir_")) &&
            !gate_function_find(text))
            return false;
        if (!is_harmless(child))
            return false;
    }
    return true;
}

static void check_odd_name(struct fixture *f, const char *sql)
{
    struct buf rendered, tree;
    struct json *again = NULL;
    buf_init(&rendered, 1u << 20);
    buf_init(&tree, 1u << 20);
    if (fixture_check(f, sql) == ERR_OK) {
        if (fixture_render(f, f->result.document, &rendered))
            fail_msg("%s\n  is not rendered: %s", sql, f->err.msg);
        if (parse_sql(f->con, buf_str(&rendered), &tree, &f->err) ||
            json_parse(buf_str(&tree), &f->arena, &again, &f->err))
            fail_msg("%s\n  became %s\n  %s", sql, rendered.data, f->err.msg);
        if (json_get(again, "statements")->count != 1 || !is_harmless(again))
            fail_msg("%s\n  became %s", sql, rendered.data);
    }
    buf_done(&rendered);
    buf_done(&tree);
}

static void names_that_look_like_sql_stay_names(void **state)
{
    for (size_t t = 0; t < ARRAY_LEN(odd_templates); t++)
        for (size_t n = 0; n < ARRAY_LEN(odd_names); n++) {
            struct buf sql;
            buf_init(&sql, 1u << 16);
            add_odd_sql(&sql, odd_templates[t], odd_names[n]);
            check_odd_name(*state, sql.data);
            buf_done(&sql);
        }
}

static void an_arena_that_is_full_is_an_error_and_no_crash(void **state)
{
    struct fixture *f = *state;
    static const char *const queries[] = {
        "SELECT histogram(_timestamp) h, count(*) FROM k8slogs WHERE match_all('a b') GROUP BY h",
        "WITH RECURSIVE r AS (SELECT 1 n UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT * FROM "
        "r",
        "SELECT nvl(level, log) FROM k8slogs",
    };
    for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
        struct buf tree;
        buf_init(&tree, 1u << 20);
        assert_int_equal(parse_sql(f->con, str_from(queries[i]), &tree, &f->err), ERR_OK);
        enum err_code rc = ERR_TOOBIG;
        for (size_t max = 0; rc != ERR_OK; max += 64) {
            struct arena a;
            struct json *document;
            arena_init(&a, max);
            struct err e;
            rc = json_parse(buf_str(&tree), &a, &document, &e);
            if (!rc)
                rc = gate_check(document, &f->options, &a, &f->result, &e);
            if (!rc && !gate_count_document(f->result.document, &a))
                rc = ERR_TOOBIG;
            assert_true(max < (1u << 20));
            arena_done(&a);
        }
        buf_done(&tree);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(selects_of_every_kind_pass_and_run),
        cmocka_unit_test(files_and_functions_that_read_them_are_refused),
        cmocka_unit_test(other_statements_are_refused),
        cmocka_unit_test(functions_outside_the_list_are_refused),
        cmocka_unit_test(only_streams_of_the_callers_organisation_can_be_named),
        cmocka_unit_test(limits_are_kept),
        cmocka_unit_test(deep_nesting_is_refused_and_long_statements_pass),
        cmocka_unit_test(names_that_look_like_sql_stay_names),
        cmocka_unit_test(an_arena_that_is_full_is_an_error_and_no_crash),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
