/* gateway/org_settings.h - what an organisation sets for its users' pages (reference §6.1).
 *
 * Kept in meta as the JSON object that replies show; a change names some of its members.  None of
 * them changes what the server does: the pages read them.
 * Errors: INVALID "No valid field found" when a change names none; those of index/meta.h.
 */
#ifndef WEIR_GATEWAY_ORG_SETTINGS_H
#define WEIR_GATEWAY_ORG_SETTINGS_H

#include "base/json.h"
#include "index/meta.h"

/* The whole object, with defaults for what was never set; in `a`. */
enum err_code org_settings_get(struct meta *m, struct str org, struct arena *a, struct json **out,
                               struct err *e);
enum err_code org_settings_change(struct meta *m, struct str org, const struct json *change,
                                  struct arena *a, struct err *e);

#endif
