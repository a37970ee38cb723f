/* gateway/stream_settings.h - the settings of a stream, as reference §3.2 has them.
 *
 * Stored as the JSON object that replies show; "{}" stands for the defaults.  A change names only
 * what it changes: scalars by their value, lists by {"add":[…],"remove":[…]}.  What is there
 * already is not added twice; an unknown key is passed over. partition_keys is
 * {"L0":{"field","types","disabled"},"L1":…}; a removed key stays, disabled. distinct_value_fields
 * is [{"name","added_ts"}], extended_retention_days [{"start","end"}] in µs. What takes effect
 * here: full_text_search_keys (match_all).  The others are kept and shown. Errors: INVALID for a
 * change that makes no sense for this stream; INVALID with the detail SETTINGS_SHAPE for one of the
 * wrong shape, which the reference answers with 422.
 */
#ifndef WEIR_GATEWAY_STREAM_SETTINGS_H
#define WEIR_GATEWAY_STREAM_SETTINGS_H

#include "base/json.h"
#include "index/meta.h"

#define SETTINGS_SHAPE 422
#define SETTINGS_LIST_MAX 1000 /* entries of one list, and of a change of it; more is INVALID */

extern const struct str STREAM_SETTINGS_DEFAULT; /* the whole object, as text */

/* `stored`: "{}" or empty for the defaults.  The object, in `a`. */
enum err_code stream_settings_read(struct str stored, struct arena *a, struct json **out,
                                   struct err *e);
/* The settings of `s` after `change`, as text in `a`. */
enum err_code stream_settings_change(const struct meta_stream *s, const struct json *change,
                                     int64_t now_us, struct arena *a, struct str *out,
                                     struct err *e);
/* The same for the older form (reference §3.1): whole lists of names, which replace what was. */
enum err_code stream_settings_replace(const struct meta_stream *s, const struct json *form,
                                      int64_t now_us, struct arena *a, struct str *out,
                                      struct err *e);
/* Is it one of the fields that match_all looks into without being told? */
bool stream_settings_is_full_text(struct str field);
const char *stream_settings_full_text(size_t i); /* each of them; NULL past the last */

#endif
