/* model_cases.h - well-formed GGUF files whose contents make no model or no tokenizer: one small
 * whole file of each kind, and what each case changes in it.
 *
 * Words are those of gguf_build.h, and: T:name,ne0,ne1.. a tensor of zeros (F32, placed by
 * itself; ! at the end makes its first value NaN), -key leaves out an entry or tensor.  A word
 * of the case replaces the base's entry or tensor of the same name.  A list's texts are written
 * 8:length 'text.
 */
#ifndef TESTS_MODEL_CASES_H
#define TESTS_MODEL_CASES_H

#include "base/err.h"

#define TINY_LLAMA "s:general.architecture=llama u:llama.block_count=1 " \
    "u:llama.embedding_length=8 u:llama.context_length=64 u:llama.feed_forward_length=16 " \
    "u:llama.attention.head_count=2 u:llama.attention.head_count_kv=1 " \
    "T:token_embd.weight,8,4 T:output_norm.weight,8 T:blk.0.attn_norm.weight,8 " \
    "T:blk.0.attn_q.weight,8,8 T:blk.0.attn_k.weight,8,4 T:blk.0.attn_v.weight,8,4 " \
    "T:blk.0.attn_output.weight,8,8 T:blk.0.ffn_norm.weight,8 T:blk.0.ffn_gate.weight,8,16 " \
    "T:blk.0.ffn_up.weight,8,16 T:blk.0.ffn_down.weight,16,8"

#define TINY_MLA(n) "T:blk." n ".attn_norm.weight,8 T:blk." n ".attn_q.weight,8,12 " \
    "T:blk." n ".attn_kv_a_mqa.weight,8,6 T:blk." n ".attn_kv_a_norm.weight,4 " \
    "T:blk." n ".attn_kv_b.weight,4,16 T:blk." n ".attn_output.weight,8,8 " \
    "T:blk." n ".ffn_norm.weight,8 "
#define TINY_MOE(n) "T:blk." n ".ffn_gate_inp.weight,8,4 T:blk." n ".ffn_gate_exps.weight,8,8,4 " \
    "T:blk." n ".ffn_up_exps.weight,8,8,4 T:blk." n ".ffn_down_exps.weight,8,8,4 " \
    "T:blk." n ".ffn_gate_shexp.weight,8,8 T:blk." n ".ffn_up_shexp.weight,8,8 " \
    "T:blk." n ".ffn_down_shexp.weight,8,8 "
#define TINY_LAYERS(n) "s:general.architecture=deepseek2 u:deepseek2.block_count=" n " " \
    "u:deepseek2.embedding_length=8 u:deepseek2.context_length=64 " \
    "u:deepseek2.feed_forward_length=16 u:deepseek2.attention.head_count=2 " \
    "u:deepseek2.attention.kv_lora_rank=4 u:deepseek2.attention.key_length=6 " \
    "u:deepseek2.attention.value_length=4 u:deepseek2.rope.dimension_count=2 " \
    "u:deepseek2.leading_dense_block_count=1 u:deepseek2.expert_count=4 " \
    "u:deepseek2.expert_used_count=2 u:deepseek2.expert_shared_count=1 " \
    "u:deepseek2.expert_feed_forward_length=8 T:token_embd.weight,8,4 T:output_norm.weight,8 " \
    TINY_MLA("0") "T:blk.0.ffn_gate.weight,8,16 T:blk.0.ffn_up.weight,8,16 " \
    "T:blk.0.ffn_down.weight,16,8 " TINY_MLA("1") TINY_MOE("1")
#define TINY_DEEPSEEK TINY_LAYERS("2")
#define TINY_MTP TINY_LAYERS("3") "u:deepseek2.nextn_predict_layers=1 " TINY_MLA("2") \
    TINY_MOE("2") "T:blk.2.nextn.enorm.weight,8 T:blk.2.nextn.hnorm.weight,8 " \
    "T:blk.2.nextn.eh_proj.weight,16,8 T:blk.2.nextn.shared_head_norm.weight,8"

#define TINY_SPM "s:tokenizer.ggml.model=llama \"tokenizer.ggml.tokens 4:9 4:8 8:4 8:5 '<unk> " \
    "8:3 '<s> 8:4 '</s> 8:6 '<0x41> \"tokenizer.ggml.scores 4:9 4:6 8:4 f:0 f:0 f:0 f:0 " \
    "\"tokenizer.ggml.token_type 4:9 4:5 8:4 4:2 4:3 4:3 4:6"
#define TINY_BPE "s:tokenizer.ggml.model=gpt2 s:tokenizer.ggml.pre=gpt-2 " \
    "\"tokenizer.ggml.tokens 4:9 4:8 8:3 8:1 'a 8:1 'b 8:2 'ab " \
    "\"tokenizer.ggml.merges 4:9 4:8 8:1 8:3 x:612062"

enum tiny { LLAMA_FILE, DEEPSEEK_FILE, MTP_FILE, SPM_FILE, BPE_FILE, TINY_COUNT };
static const char *const tiny_file[TINY_COUNT] = { TINY_LLAMA, TINY_DEEPSEEK, TINY_MTP, TINY_SPM,
                                                   TINY_BPE };

struct model_case { enum tiny base; const char *name; enum err code; const char *say, *words; };

#define NAN_F32 "4:6 4:0x7fc00000"
static const struct model_case model_bad[] = {
    /* keys that every family has */
    { LLAMA_FILE, "no-architecture", ERR_FORMAT, "general.architecture is missing",
      "-general.architecture" },
    { LLAMA_FILE, "architecture-number", ERR_FORMAT, "general.architecture is an integer",
      "u:general.architecture=1" },
    { LLAMA_FILE, "architecture-unknown", ERR_ARG, "'gptx'", "s:general.architecture=gptx" },
    { LLAMA_FILE, "no-block-count", ERR_FORMAT, "llama.block_count is missing",
      "-llama.block_count" },
    { LLAMA_FILE, "block-count-0", ERR_FORMAT, "llama.block_count is 0", "u:llama.block_count=0" },
    { LLAMA_FILE, "block-count-2-32", ERR_FORMAT, "block_count is 4294967295",
      "u:llama.block_count=4294967295" },
    { LLAMA_FILE, "block-count-lies", ERR_FORMAT, "'blk.1.attn_norm.weight' is missing",
      "u:llama.block_count=2" },
    { LLAMA_FILE, "mtp-is-all", ERR_FORMAT, "nextn_predict_layers is 1",
      "u:llama.nextn_predict_layers=1" },
    { LLAMA_FILE, "embedding-length-0", ERR_FORMAT, "embedding_length is 0",
      "u:llama.embedding_length=0" },
    { LLAMA_FILE, "embedding-length-2-31", ERR_FORMAT, "embedding_length is 2147483648",
      "u:llama.embedding_length=2147483648" },
    { LLAMA_FILE, "head-width-that-follows", ERR_FORMAT, "what follows for it from others is 65536",
      "u:llama.embedding_length=65536 u:llama.attention.head_count=1" },
    { LLAMA_FILE, "context-length-0", ERR_FORMAT, "context_length is 0",
      "u:llama.context_length=0" },
    { LLAMA_FILE, "feed-forward-0", ERR_FORMAT, "feed_forward_length is 0",
      "u:llama.feed_forward_length=0" },
    { LLAMA_FILE, "head-count-0", ERR_FORMAT, "head_count is 0",
      "u:llama.attention.head_count=0" },
    { LLAMA_FILE, "head-count-negative", ERR_FORMAT, "head_count is -2",
      "\"llama.attention.head_count 4:5 4:-2" },
    { LLAMA_FILE, "head-count-list", ERR_FORMAT, "head_count is a list",
      "\"llama.attention.head_count 4:9 4:4 8:1 4:2" },
    { LLAMA_FILE, "head-count-kv-0", ERR_FORMAT, "head_count_kv is 0",
      "u:llama.attention.head_count_kv=0" },
    { LLAMA_FILE, "head-count-kv-more", ERR_FORMAT, "head_count_kv is 3",
      "u:llama.attention.head_count_kv=3" },
    { LLAMA_FILE, "eps-nan", ERR_FORMAT, "rms_epsilon is nan",
      "\"llama.attention.layer_norm_rms_epsilon " NAN_F32 },
    { LLAMA_FILE, "eps-negative", ERR_FORMAT, "rms_epsilon is -1",
      "\"llama.attention.layer_norm_rms_epsilon 4:6 f:-1" },
    /* rotation */
    { LLAMA_FILE, "rope-base-0", ERR_FORMAT, "freq_base is 0", "\"llama.rope.freq_base 4:6 f:0" },
    { LLAMA_FILE, "rope-base-1-yarn", ERR_FORMAT, "freq_base is 1;",
      "\"llama.rope.freq_base 4:6 f:1 s:llama.rope.scaling.type=yarn" },
    { LLAMA_FILE, "rope-base-nan", ERR_FORMAT, "freq_base is nan",
      "\"llama.rope.freq_base " NAN_F32 },
    { LLAMA_FILE, "rope-factor-0", ERR_FORMAT, "scaling.factor is 0",
      "\"llama.rope.scaling.factor 4:6 f:0" },
    { LLAMA_FILE, "rope-type-unknown", ERR_ARG, "'ntk'", "s:llama.rope.scaling.type=ntk" },
    { LLAMA_FILE, "rope-type-number", ERR_FORMAT, "scaling.type is an integer",
      "u:llama.rope.scaling.type=1" },
    { LLAMA_FILE, "rope-attn-factor", ERR_FORMAT, "attn_factor is 0",
      "\"llama.rope.scaling.attn_factor 4:6 f:0" },
    { LLAMA_FILE, "rope-context-0", ERR_FORMAT, "original_context_length is 0",
      "u:llama.rope.scaling.original_context_length=0" },
    { LLAMA_FILE, "rope-divisor-0", ERR_FORMAT, "rope_freqs.weight", "T:rope_freqs.weight,2" },
    /* llama */
    { LLAMA_FILE, "mixtral", ERR_ARG, "8 experts", "u:llama.expert_count=8" },
    { LLAMA_FILE, "llama-mtp", ERR_FORMAT, "a llama model has none",
      "u:llama.block_count=2 u:llama.nextn_predict_layers=1" },
    { LLAMA_FILE, "heads-not-multiple", ERR_FORMAT, "not a multiple of head_count_kv 2",
      "u:llama.attention.head_count=3 u:llama.attention.head_count_kv=2" },
    { LLAMA_FILE, "key-length-1", ERR_FORMAT, "key_length is 1",
      "u:llama.attention.key_length=1" },
    { LLAMA_FILE, "value-length-other", ERR_FORMAT, "value_length 6 must equal",
      "u:llama.attention.value_length=6" },
    { LLAMA_FILE, "rope-dimensions-odd", ERR_FORMAT, "dimension_count 3 must be even",
      "u:llama.rope.dimension_count=3" },
    { LLAMA_FILE, "rope-dimensions-more", ERR_FORMAT, "dimension_count is 6",
      "u:llama.rope.dimension_count=6" },
    /* tensors */
    { LLAMA_FILE, "no-embedding", ERR_FORMAT, "'token_embd.weight' is missing",
      "-token_embd.weight" },
    { LLAMA_FILE, "no-norm", ERR_FORMAT, "'output_norm.weight' is missing",
      "-output_norm.weight" },
    { LLAMA_FILE, "embedding-wide", ERR_FORMAT, "4 rows of 16 values; the metadata asks for",
      "T:token_embd.weight,16,4" },
    { LLAMA_FILE, "vector-of-rows", ERR_FORMAT, "'blk.0.attn_norm.weight' has 2 rows",
      "T:blk.0.attn_norm.weight,8,2" },
    { LLAMA_FILE, "vector-nan", ERR_FORMAT, "not finite", "T:blk.0.attn_norm.weight,8!" },
    { LLAMA_FILE, "tensor-of-another-family", ERR_ARG, "'blk.0.ssm_a' has no place",
      "T:blk.0.ssm_a,8" },
    { LLAMA_FILE, "tensor-of-no-layer", ERR_ARG, "'blk.7.attn_q.weight' has no place",
      "T:blk.7.attn_q.weight,8,8" },
    { LLAMA_FILE, "tensor-of-layer-minus-1", ERR_ARG, "'blk.-1.attn_q.weight' has no place",
      "T:blk.-1.attn_q.weight,8,8" },
    { LLAMA_FILE, "tensor-of-layer-2-70", ERR_ARG, "has no place",
      "T:blk.1180591620717411303424.attn_q.weight,8,8" },
    /* deepseek2 */
    { DEEPSEEK_FILE, "no-latent", ERR_FORMAT, "kv_lora_rank is missing",
      "-deepseek2.attention.kv_lora_rank" },
    { DEEPSEEK_FILE, "key-length-all-rope", ERR_FORMAT, "below the key length 6",
      "u:deepseek2.rope.dimension_count=6" },
    { DEEPSEEK_FILE, "rope-odd", ERR_FORMAT, "dimension_count 3 must be",
      "u:deepseek2.rope.dimension_count=3" },
    { DEEPSEEK_FILE, "experts-2-31", ERR_FORMAT, "expert_count is 2147483648",
      "u:deepseek2.expert_count=2147483648" },
    { DEEPSEEK_FILE, "experts-used-more", ERR_FORMAT, "expert_used_count is 5",
      "u:deepseek2.expert_used_count=5" },
    { DEEPSEEK_FILE, "experts-used-0", ERR_FORMAT, "expert_used_count is 0",
      "u:deepseek2.expert_used_count=0" },
    { DEEPSEEK_FILE, "experts-none-but-tensors", ERR_ARG, "has no place",
      "u:deepseek2.expert_count=0 T:blk.1.ffn_gate.weight,8,16 T:blk.1.ffn_up.weight,8,16 "
      "T:blk.1.ffn_down.weight,16,8 -blk.1.ffn_gate_shexp.weight -blk.1.ffn_up_shexp.weight "
      "-blk.1.ffn_down_shexp.weight" },
    { DEEPSEEK_FILE, "experts-fewer-than-rows", ERR_FORMAT, "the metadata asks for 3 of 8",
      "u:deepseek2.expert_count=3" },
    { DEEPSEEK_FILE, "dense-more-than-layers", ERR_FORMAT, "leading_dense_block_count is 3",
      "u:deepseek2.leading_dense_block_count=3" },
    { DEEPSEEK_FILE, "dense-tensor-in-moe-layer", ERR_ARG, "'blk.1.ffn_gate.weight' has no place",
      "T:blk.1.ffn_gate.weight,8,16" },
    { DEEPSEEK_FILE, "gating-3", ERR_ARG, "expert_gating_func is 3",
      "u:deepseek2.expert_gating_func=3" },
    { DEEPSEEK_FILE, "gating-9", ERR_FORMAT, "expert_gating_func is 9",
      "u:deepseek2.expert_gating_func=9" },
    { DEEPSEEK_FILE, "groups-0", ERR_FORMAT, "expert_group_count is 0",
      "u:deepseek2.expert_group_count=0" },
    { DEEPSEEK_FILE, "groups-uneven", ERR_FORMAT, "4 experts in 3 groups",
      "u:deepseek2.expert_group_count=3" },
    { DEEPSEEK_FILE, "groups-too-small", ERR_FORMAT, "cannot give 2 experts",
      "u:deepseek2.expert_group_count=4" },
    { DEEPSEEK_FILE, "groups-used-more", ERR_FORMAT, "expert_group_used_count is 3",
      "u:deepseek2.expert_group_count=2 u:deepseek2.expert_group_used_count=3" },
    { DEEPSEEK_FILE, "weights-norm-number", ERR_FORMAT, "expert_weights_norm is an integer",
      "u:deepseek2.expert_weights_norm=1" },
    { DEEPSEEK_FILE, "weights-scale-nan", ERR_FORMAT, "expert_weights_scale is nan",
      "\"deepseek2.expert_weights_scale " NAN_F32 },
    { DEEPSEEK_FILE, "no-query", ERR_FORMAT, "layer 0 needs either attn_q",
      "-blk.0.attn_q.weight" },
    { DEEPSEEK_FILE, "no-kv-b", ERR_FORMAT, "layer 1 needs either attn_kv_b",
      "-blk.1.attn_kv_b.weight" },
    { DEEPSEEK_FILE, "no-shared-expert", ERR_FORMAT, "lacks tensors of its 1 shared",
      "-blk.1.ffn_up_shexp.weight" },
    { DEEPSEEK_FILE, "no-router", ERR_FORMAT, "'blk.1.ffn_gate_inp.weight' is missing",
      "-blk.1.ffn_gate_inp.weight" },
    { MTP_FILE, "mtp-no-enorm", ERR_FORMAT, "'blk.2.nextn.enorm.weight' is missing",
      "-blk.2.nextn.enorm.weight" },
    { MTP_FILE, "mtp-no-eh-proj", ERR_FORMAT, "'blk.2.nextn.eh_proj.weight' is missing",
      "-blk.2.nextn.eh_proj.weight" },
    { MTP_FILE, "mtp-eh-proj-narrow", ERR_FORMAT, "asks for 8 of 16",
      "T:blk.2.nextn.eh_proj.weight,8,8" },
    { MTP_FILE, "mtp-eh-proj-tall", ERR_FORMAT, "'blk.2.nextn.eh_proj.weight' has 16 rows",
      "T:blk.2.nextn.eh_proj.weight,16,16" },
    { MTP_FILE, "mtp-hnorm-nan", ERR_FORMAT, "'blk.2.nextn.hnorm.weight' has a value that is not",
      "T:blk.2.nextn.hnorm.weight,8!" },
    { MTP_FILE, "mtp-head-of-another", ERR_FORMAT, "'blk.2.nextn.shared_head_head.weight' has 5",
      "T:blk.2.nextn.shared_head_head.weight,8,5" },
    { MTP_FILE, "mtp-embedding-of-another", ERR_FORMAT, "nextn.embed_tokens.weight' has 3 rows",
      "T:blk.2.nextn.embed_tokens.weight,8,3" },
    { MTP_FILE, "mtp-no-router", ERR_FORMAT, "'blk.2.ffn_gate_inp.weight' is missing",
      "-blk.2.ffn_gate_inp.weight" },
    { MTP_FILE, "mtp-no-kv-b", ERR_FORMAT, "layer 2 needs either attn_kv_b",
      "-blk.2.attn_kv_b.weight" },
    { MTP_FILE, "mtp-unknown", ERR_ARG, "'blk.2.nextn.fnorm.weight' has no place",
      "T:blk.2.nextn.fnorm.weight,8" },
    { MTP_FILE, "mtp-tensor-in-a-layer", ERR_ARG, "'blk.1.nextn.enorm.weight' has no place",
      "T:blk.1.nextn.enorm.weight,8" },
    /* SentencePiece vocabularies */
    { SPM_FILE, "no-tokenizer", ERR_MISSING, "has no tokenizer", "-tokenizer.ggml.model" },
    { SPM_FILE, "tokenizer-number", ERR_FORMAT, "tokenizer.ggml.model is an integer",
      "u:tokenizer.ggml.model=1" },
    { SPM_FILE, "tokenizer-bert", ERR_ARG, "\"bert\" is not supported",
      "s:tokenizer.ggml.model=bert" },
    { SPM_FILE, "no-tokens", ERR_MISSING, "has no vocabulary", "-tokenizer.ggml.tokens" },
    { SPM_FILE, "tokens-numbers", ERR_FORMAT, "tokens is not an array of strings",
      "\"tokenizer.ggml.tokens 4:9 4:4 8:1 4:7" },
    { SPM_FILE, "tokens-one-text", ERR_FORMAT, "tokens is not an array of strings",
      "s:tokenizer.ggml.tokens=a" },
    { SPM_FILE, "byte-token-minus-1", ERR_FORMAT, "\"<0x-1>\"",
      "\"tokenizer.ggml.tokens 4:9 4:8 8:4 8:5 '<unk> 8:3 '<s> 8:4 '</s> 8:6 '<0x-1>" },
    { SPM_FILE, "byte-token-long", ERR_FORMAT, "\"<0x100>\"",
      "\"tokenizer.ggml.tokens 4:9 4:8 8:4 8:5 '<unk> 8:3 '<s> 8:4 '</s> 8:7 '<0x100>" },
    { SPM_FILE, "types-too-few", ERR_FORMAT, "token_type has 1 entries for 4",
      "\"tokenizer.ggml.token_type 4:9 4:5 8:1 4:1" },
    { SPM_FILE, "type-7", ERR_FORMAT, "the type 7",
      "\"tokenizer.ggml.token_type 4:9 4:5 8:4 4:1 4:1 4:7 4:1" },
    { SPM_FILE, "type-negative", ERR_FORMAT, "the type -1",
      "\"tokenizer.ggml.token_type 4:9 4:5 8:4 4:1 4:1 4:-1 4:1" },
    { SPM_FILE, "type-fraction", ERR_FORMAT, "token_type gives token 0",
      "\"tokenizer.ggml.token_type 4:9 4:6 8:4 f:1 f:1 f:1 f:1" },
    { SPM_FILE, "no-scores", ERR_FORMAT, "has no tokenizer.ggml.scores", "-tokenizer.ggml.scores" },
    { SPM_FILE, "scores-too-many", ERR_FORMAT, "scores has 5 entries for 4",
      "\"tokenizer.ggml.scores 4:9 4:6 8:5 f:0 f:0 f:0 f:0 f:0" },
    { SPM_FILE, "score-nan", ERR_FORMAT, "not a number for token 1",
      "\"tokenizer.ggml.scores 4:9 4:6 8:4 f:0 4:0x7fc00000 f:0 f:0" },
    { SPM_FILE, "eos-not-below-vocab", ERR_FORMAT, "eos_token_id is 4",
      "u:tokenizer.ggml.eos_token_id=4" },
    { SPM_FILE, "bos-2-31", ERR_FORMAT, "bos_token_id is 2147483648",
      "u:tokenizer.ggml.bos_token_id=2147483648" },
    { SPM_FILE, "eos-list", ERR_FORMAT, "eos_token_id is a list",
      "\"tokenizer.ggml.eos_token_id 4:9 4:4 8:1 4:2" },
    { SPM_FILE, "unknown-negative", ERR_FORMAT, "unknown_token_id is -7",
      "\"tokenizer.ggml.unknown_token_id 4:5 4:-7" },
    { SPM_FILE, "add-bos-text", ERR_FORMAT, "add_bos_token is a text",
      "s:tokenizer.ggml.add_bos_token=yes" },
    { SPM_FILE, "space-prefix-number", ERR_FORMAT, "add_space_prefix is an integer",
      "u:tokenizer.ggml.add_space_prefix=1" },
    /* byte-pair vocabularies */
    { BPE_FILE, "pre-number", ERR_FORMAT, "tokenizer.ggml.pre is an integer",
      "u:tokenizer.ggml.pre=1" },
    { BPE_FILE, "pre-unknown", ERR_ARG, "no-such-splitter",
      "s:tokenizer.ggml.pre=no-such-splitter" },
    { BPE_FILE, "no-merges", ERR_FORMAT, "has no tokenizer.ggml.merges",
      "-tokenizer.ggml.merges" },
    { BPE_FILE, "merges-numbers", ERR_FORMAT, "merges is not an array of strings",
      "\"tokenizer.ggml.merges 4:9 4:4 8:1 4:7" },
    { BPE_FILE, "merge-without-space", ERR_FORMAT, "not two token texts",
      "\"tokenizer.ggml.merges 4:9 4:8 8:1 8:2 'ab" },
    { BPE_FILE, "merge-of-nothing", ERR_FORMAT, "not in the vocabulary",
      "\"tokenizer.ggml.merges 4:9 4:8 8:1 8:3 x:622061" },
};

enum { MODEL_BAD_COUNT = sizeof(model_bad) / sizeof(model_bad[0]) };

#endif
