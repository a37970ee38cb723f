/* gateway/catalog_entry.c - packs a stream and its schema, counts references, finds fields. */
#include "gateway/catalog_entry.h"

#include <assert.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/json.h"

#define SETTINGS_ARENA_MAX (16u << 20)
#define HOURS_MAX 1000000u
#define LEVEL_MAX 1000u /* as ZO_INGEST_FLATTEN_LEVEL has it */

static struct catalog_entry *entry_of(const struct catalog_stream *s)
{
    return (struct catalog_entry *)(uintptr_t)s;
}

static size_t slots_for(size_t fields)
{
    size_t n = 4;

    while (n < fields * 2)
        n *= 2;
    return n;
}

static size_t text_bytes(const struct meta_stream *s)
{
    size_t n = s->org.len + s->name.len + s->settings_json.len;

    for (size_t i = 0; i < s->field_count; i++)
        n += s->fields[i].name.len;
    return n;
}

static struct str pack_text(char **at, struct str s)
{
    struct str packed = {*at, s.len};

    if (s.len)
        memcpy(*at, s.ptr, s.len);
    *at += s.len;
    return packed;
}

/* The slot of the field `name`, or the empty one where it belongs. */
static uint32_t *find_slot(const struct catalog_entry *en, struct str name)
{
    uint64_t hash = siphash13(en->hash_key.k0, en->hash_key.k1, name.ptr, name.len);

    for (uint32_t i = (uint32_t)hash & en->slot_mask;; i = (i + 1) & en->slot_mask) {
        uint32_t field = en->slots[i];
        if (field == 0 || str_eq(en->stream.fields[field - 1].name, name))
            return &en->slots[i];
    }
}

/* Marks the fields that are named for full-text search. */
static void mark_full_text(struct catalog_entry *en, const struct json *names, bool *marks)
{
    for (const struct json *k = names ? names->first : NULL; k; k = k->next) {
        int field = catalog_field(&en->stream, k->text);
        if (field >= 0)
            marks[field] = true;
    }
}

/* What the hot paths want to know of the settings. */
static void read_settings(struct catalog_entry *en, bool *marks)
{
    struct arena a;
    struct json *settings;
    int64_t level, hours;

    arena_init(&a, SETTINGS_ARENA_MAX);
    if (en->stream.settings.len > 2 &&
        json_parse(en->stream.settings, &a, &settings, NULL) == ERR_OK) {
        mark_full_text(en, json_get(settings, "full_text_search_keys"), marks);
        en->stream.store_original = json_bool(json_get(settings, "store_original_data"), false);
        if (json_i64(json_get(settings, "flatten_level"), &level) && level > 0)
            en->stream.flatten_level = level < LEVEL_MAX ? (unsigned)level : LEVEL_MAX;
        if (json_i64(json_get(settings, "max_query_range"), &hours) && hours > 0)
            en->stream.max_query_hours = hours < HOURS_MAX ? (unsigned)hours : HOURS_MAX;
    }
    arena_done(&a);
}

enum err_code catalog_entry_new(const struct meta_stream *s, struct catalog_hash_key key,
                                struct catalog_entry **out, struct err *e)
{
    size_t fields_bytes = s->field_count * sizeof *s->fields;
    size_t slots = slots_for(s->field_count), slots_bytes = slots * sizeof(uint32_t);
    size_t bytes =
        sizeof(struct catalog_entry) + fields_bytes + slots_bytes + s->field_count + text_bytes(s);
    struct catalog_entry *en = malloc(bytes);
    struct meta_field *fields;
    bool *marks;
    char *text;

    assert(s->field_count <= FIELDS_MAX);
    if (!en)
        return err_set(e, ERR_NOMEM, "schema of " STR_FMT, STR_ARG(s->name));
    fields = (struct meta_field *)(en + 1);
    *en = (struct catalog_entry){.bytes = bytes,
                                 .hash_key = key,
                                 .slot_mask = (uint32_t)slots - 1,
                                 .slots = (uint32_t *)(fields + s->field_count)};
    atomic_init(&en->refs, 1);
    memset(en->slots, 0, slots_bytes);
    marks = (bool *)(en->slots + slots);
    memset(marks, 0, s->field_count * sizeof *marks);
    text = (char *)(marks + s->field_count);
    en->stream = (struct catalog_stream){.number = s->number,
                                         .org = pack_text(&text, s->org),
                                         .name = pack_text(&text, s->name),
                                         .type = s->type,
                                         .schema_version = s->schema_version,
                                         .fields = fields,
                                         .field_count = s->field_count,
                                         .settings = pack_text(&text, s->settings_json),
                                         .full_text = marks};
    for (size_t i = 0; i < s->field_count; i++) {
        fields[i] = s->fields[i];
        fields[i].name = pack_text(&text, s->fields[i].name);
        en->stream.name_bytes += fields[i].name.len;
        *find_slot(en, fields[i].name) = (uint32_t)i + 1;
    }
    read_settings(en, marks);
    *out = en;
    return ERR_OK;
}

const struct catalog_stream *catalog_ref(const struct catalog_stream *s)
{
    atomic_fetch_add_explicit(&entry_of(s)->refs, 1, memory_order_relaxed);
    return s;
}

void catalog_unref(const struct catalog_stream *s)
{
    if (s && atomic_fetch_sub_explicit(&entry_of(s)->refs, 1, memory_order_acq_rel) == 1)
        free(entry_of(s));
}

int catalog_field(const struct catalog_stream *s, struct str name)
{
    return (int)*find_slot(entry_of(s), name) - 1;
}
