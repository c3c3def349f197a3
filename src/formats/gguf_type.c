/* gguf_type.c - tensor types that exist but that croft does not compute with, by name. */
#include "formats/gguf.h"

#include <inttypes.h>

enum why { WHY_ACTIVATION, WHY_INTEGER, WHY_REMOVED, WHY_NEW, WHY_IK, WHY_UNKNOWN };

static const char *const remedy[] = {
    [WHY_ACTIVATION] = "a format for intermediate results that no model is stored in; the file is "
                       "damaged or was made wrongly, get another",
    [WHY_INTEGER]    = "plain numbers that are not weights; this is not a language model croft "
                       "can run, get another file of it",
    [WHY_REMOVED]    = "a type that GGUF dropped; get a current file of the model, such as Q4_0 or "
                       "Q4_K_M",
    [WHY_NEW]        = "a type croft does not read yet; get a file such as Q4_K_M, Q8_0 or BF16",
    [WHY_IK]         = "a type of ik_llama.cpp alone; get a file in a common type such as Q4_K_M, "
                       "or run it with ik_llama.cpp",
    [WHY_UNKNOWN]    = "a number croft does not know; the file is damaged or newer than this "
                       "program: get it again, or update",
};

static const struct { uint32_t id; const char *name; enum why why; } refused[] = {
    { 4, "Q4_2", WHY_REMOVED }, { 5, "Q4_3", WHY_REMOVED },
    { 9, "Q8_1", WHY_ACTIVATION }, { 15, "Q8_K", WHY_ACTIVATION },
    { 24, "I8", WHY_INTEGER }, { 25, "I16", WHY_INTEGER }, { 26, "I32", WHY_INTEGER },
    { 27, "I64", WHY_INTEGER }, { 28, "F64", WHY_INTEGER },
    { 31, "Q4_0_4_4", WHY_REMOVED }, { 32, "Q4_0_4_8", WHY_REMOVED },
    { 33, "Q4_0_8_8", WHY_REMOVED }, { 36, "IQ4_NL_4_4", WHY_REMOVED },
    { 37, "IQ4_NL_4_8", WHY_REMOVED }, { 38, "IQ4_NL_8_8", WHY_REMOVED },
    { 40, "NVFP4", WHY_NEW }, { 41, "Q1_0", WHY_NEW }, { 42, "Q2_0", WHY_NEW },
    { 133, "Q6_0", WHY_IK }, { 137, "IQ2_K", WHY_IK }, { 138, "IQ3_K", WHY_IK },
    { 139, "IQ4_K", WHY_IK }, { 140, "IQ5_K", WHY_IK }, { 141, "IQ6_K", WHY_IK },
    { 144, "IQ4_KS", WHY_IK }, { 145, "IQ2_KS", WHY_IK }, { 146, "IQ4_KSS", WHY_IK },
    { 151, "Q8_KV", WHY_IK }, { 152, "IQ5_KS", WHY_IK }, { 153, "IQ2_KT", WHY_IK },
    { 154, "IQ3_KT", WHY_IK }, { 155, "IQ4_KT", WHY_IK }, { 156, "IQ3_KS", WHY_IK },
    { 157, "IQ2_KL", WHY_IK }, { 158, "IQ1_KT", WHY_IK },
    { 202, "Q4_0_R8", WHY_IK }, { 206, "Q5_0_R4", WHY_IK }, { 208, "Q8_0_R8", WHY_IK },
    { 210, "Q2_K_R4", WHY_IK }, { 211, "Q3_K_R4", WHY_IK }, { 212, "Q4_K_R4", WHY_IK },
    { 213, "Q5_K_R4", WHY_IK }, { 214, "Q6_K_R4", WHY_IK }, { 216, "IQ2_XXS_R4", WHY_IK },
    { 217, "IQ2_XS_R4", WHY_IK }, { 218, "IQ3_XXS_R4", WHY_IK }, { 219, "IQ1_S_R4", WHY_IK },
    { 220, "IQ4_NL_R4", WHY_IK }, { 221, "IQ3_S_R4", WHY_IK }, { 222, "IQ2_S_R4", WHY_IK },
    { 223, "IQ4_XS_R8", WHY_IK }, { 229, "IQ1_M_R4", WHY_IK }, { 337, "IQ2_K_R4", WHY_IK },
    { 338, "IQ3_K_R4", WHY_IK }, { 339, "IQ4_K_R4", WHY_IK }, { 340, "IQ5_K_R4", WHY_IK },
    { 344, "IQ4_KS_R4", WHY_IK }, { 352, "IQ5_KS_R4", WHY_IK },
};

enum err gguf_type_refuse(const char *path, const char *tensor, uint32_t type)
{
    const char *name = "an unnamed type";
    enum why why = WHY_UNKNOWN;

    if ((type >= 133 && type <= 158) || (type >= 200 && type <= 399))
        why = WHY_IK;                   /* the ranges it numbers its own types in */
    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
        if (refused[i].id == type) {
            name = refused[i].name;
            why = refused[i].why;
        }
    return err_set(ERR_FORMAT, "GGUF-31", "%s: tensor %s is stored as %s (type %" PRIu32 "), %s",
                   path, tensor, name, type, remedy[why]);
}
