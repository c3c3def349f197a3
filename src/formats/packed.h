/* packed.h - a packed file: GGUF v3 with other first bytes, and weights that lie in tiles.
 *
 * Other programs must not take its tensors for rows: so the magic is not GGUF's.  Three keys say
 * how the tensors lie: the layout's name, its version, and for each tensor whether it is in that
 * layout (kernels/tile.h) or as GGUF has it.  A packed tensor keeps its type, shape and size, has
 * a type with tiles and a multiple of 16 rows.  place/packed_file.c writes such files.  A change of
 * a line in kernels/tile.def needs another version.
 */
#ifndef FORMATS_PACKED_H
#define FORMATS_PACKED_H

#define PACKED_MAGIC       "CRFT"
#define PACKED_LAYOUT      "tiles16"
#define PACKED_KEY_LAYOUT  "croft.layout"           /* text */
#define PACKED_KEY_VERSION "croft.layout.version"   /* integer */
#define PACKED_KEY_TENSORS "croft.layout.packed"    /* true or false for each tensor, in order */

enum { PACKED_VERSION = 1, PACKED_ALIGNMENT = 64 };

#endif
