/* tests/bench/bare_duckdb.c - the pinned DuckDB alone, as the measure for what Weir adds.
 *
 * usage: bare_duckdb THREADS REPEAT SQL ...
 * Runs each statement REPEAT times and prints a JSON array of the fastest times, in seconds.
 */
#include <duckdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Rows are fetched to the last, as a client would. */
static double run(duckdb_connection con, const char *sql)
{
    duckdb_result result;
    double began = now_s();

    if (duckdb_query(con, sql, &result) != DuckDBSuccess) {
        fprintf(stderr, "%s: %s\n", sql, duckdb_result_error(&result));
        exit(1);
    }
    for (duckdb_data_chunk chunk; (chunk = duckdb_fetch_chunk(result));)
        duckdb_destroy_data_chunk(&chunk);
    duckdb_destroy_result(&result);
    return now_s() - began;
}

int main(int argc, char **argv)
{
    duckdb_config config;
    duckdb_database db;
    duckdb_connection con;

    if (argc < 4) {
        fputs("usage: bare_duckdb THREADS REPEAT SQL ...\n", stderr);
        return 2;
    }
    if (duckdb_create_config(&config) != DuckDBSuccess ||
        duckdb_set_config(config, "threads", argv[1]) != DuckDBSuccess ||
        duckdb_open_ext(NULL, &db, config, NULL) != DuckDBSuccess ||
        duckdb_connect(db, &con) != DuckDBSuccess)
        return 1;
    printf("[");
    for (int i = 3; i < argc; i++) {
        double best = 1e9;
        for (int n = 0; n < atoi(argv[2]); n++) {
            double took = run(con, argv[i]);
            best = took < best ? took : best;
        }
        printf("%s%.4f", i > 3 ? "," : "", best);
    }
    printf("]\n");
    duckdb_disconnect(&con);
    duckdb_close(&db);
    duckdb_destroy_config(&config);
    return 0;
}
