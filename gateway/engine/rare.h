/* gateway/engine/rare.h - the fields of a sealed file that have no column of their own.
 *
 * A stream may have a thousand fields of which a record has fifteen.  Parquet's writers and readers
 * pay for every empty cell, so that such a part would cost twenty times what a narrow one does.
 * Where a part has many rare fields, all but the first few of them stand together in one column,
 * RARE_COLUMN: a row's as one JSON object, each value in its text form (text_form.h), the keys in
 * the order of the stream's fields; null when the row has none.
 *
 * A field is rare when less than 1 in RARE_SHARE rows has it, or when RARE_PAST_COLUMNS fields
 * before it have columns: DuckDB's time for the columns of a statement grows with their square, and
 * 50,000 took minutes to be written, and again to be read.  A stream reaches that many with records
 * of more fields than the default limit allows: a thousand a record are at most 4,000 that a
 * quarter of the rows has.  Its price: DuckDB copies the objects of the rows for each field that is
 * asked for, so that a SELECT * over hundreds of such rows is slower than over columns.
 *
 * No field can have the column's name: '-' is replaced in names.  Its Parquet field id is one that
 * no field reaches.
 */
#ifndef WEIR_GATEWAY_ENGINE_RARE_H
#define WEIR_GATEWAY_ENGINE_RARE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

#define RARE_COLUMN "rare-fields"
#define RARE_FIELD_ID INT32_MAX
#define RARE_SHARE 4u
#define RARE_COLUMNS_KEPT 16u   /* rare fields that have columns nevertheless */
#define RARE_PAST_COLUMNS 4096u /* columns, behind which every field is rare that may be */

/* The value of `field` in a RARE_COLUMN's object: the token as it stands there, a text with its
 * quotes.  False when the object lacks it. */
bool rare_find(struct str object, struct str field, struct str *token);

#endif
