// A decoder of two layers, from the importer's form to schedules and kernels.
// RUN: llmc-opt %s --llmc-pipeline | FileCheck %s
// RUN: llmc-opt %s --llmc-pipeline=disable-pass=llm-fuse-norm-qkv,llm-fuse-norm-glu,llm-fuse-norm-projections,llm-fuse-residual,llm-fuse-norm-logits | FileCheck %s --check-prefix=UNFUSED
// RUN: llmc-opt %s --llmc-pipeline=disable-pass=llm-plan-memory | FileCheck %s --check-prefix=UNSHARED

// CHECK:      llm.packed_weight @embed_tokens.panels panels concat of [@embed_tokens] : bf16
// CHECK-NEXT: llm.packed_weight @input_norm.rows rows concat of [@input_norm] : f32
// CHECK-NEXT: llm.packed_weight @q_proj.k_proj.v_proj.heads panels heads of [@q_proj, @k_proj, @v_proj] head_rows 16 : bf16
// CHECK:      llm.packed_weight @gate_proj.up_proj.interleave panels interleave of [@gate_proj, @up_proj] : bf16

// CHECK-LABEL: llm.schedule @decode decode max_rows 4 max_logits_rows 4 arena_bytes 18688 logits @logits
// The residual stream lives through all layers; the MLP takes the bytes of q and attention.
// CHECK-NEXT: llm.buffer @residual offset 16640 rows 4 width 64 row_stride 64
// CHECK-NEXT: llm.buffer @norm_qkv offset 0 rows 4 width 64 row_stride 64
// CHECK-NEXT: llm.buffer @attention offset 1024 rows 4 width 64 row_stride 64
// CHECK-NEXT: llm.buffer @linear_residual offset 17664 rows 4 width 64 row_stride 64
// CHECK-NEXT: llm.buffer @norm_glu offset 0 rows 4 width 1024 row_stride 1040
// CHECK-NEXT: llm.buffer @logits offset 0 rows 4 width 128 row_stride 128
// CHECK-NEXT: llm.phase @embed_128x64_bf16_decode tiles 1 rows_per_tile 1
// CHECK-NEXT: llm.repeat first_layer 0 num_layers 2 {
// CHECK-NEXT:   llm.phase @norm_qkv_128x64_bf16_kvbf16_decode
// CHECK-SAME:     [#llm.operand<read arena @residual>, #llm.operand<read weights @input_norm.rows>, #llm.operand<read weights @q_proj.k_proj.v_proj.heads>, #llm.operand<read rope @rope>, #llm.operand<read input @pos>, #llm.operand<read input @seq>, #llm.operand<read block_table @kv>, #llm.operand<write keys @kv>, #llm.operand<write values @kv>, #llm.operand<write arena @norm_qkv>]
// CHECK-NEXT:   llm.phase @attention_4x2x16_kvbf16_decode
// CHECK-NEXT:   llm.phase @linear_residual_64x64_bf16_decode
// CHECK-NEXT:   llm.phase @norm_glu_2048x64_bf16_decode
// CHECK-NEXT:   llm.phase @linear_residual_64x1024_bf16_decode
// CHECK-SAME:     #llm.operand<write arena @residual>]
// CHECK-NEXT: }
// CHECK-NEXT: llm.phase @norm_logits_128x64_bf16_decode

// Prefill wants the logits of one row of each sequence, and has kernels of its own.
// CHECK-LABEL: llm.schedule @prefill prefill max_rows 64 max_logits_rows 64
// CHECK:      llm.buffer @logits offset 0 rows 64 width 128 row_stride 128
// CHECK:      llm.phase @attention_4x2x16_kvbf16_prefill tiles 2 rows_per_tile 16

// CHECK-COUNT-14: llm.kernel @
// CHECK-NOT:  llm.kernel @

// UNFUSED:     llm.schedule @decode
// UNFUSED:     llm.phase @linear_32x64_bf16_decode {{.*}} @k_proj.panels
// UNFUSED:     llm.phase @linear_32x64_bf16_decode {{.*}} @v_proj.panels
// UNFUSED:     llm.schedule @prefill
// Equal shapes share a kernel, whatever the weight: k with v, q with o, gate with up, and all norms.
// UNFUSED-COUNT-28: llm.kernel @
// UNFUSED-NOT: llm.kernel @

// UNSHARED: llm.schedule @decode decode max_rows 4 max_logits_rows 4 arena_bytes 22784
// UNSHARED: llm.buffer @residual offset 0
// UNSHARED: llm.buffer @norm_qkv offset 1024
// UNSHARED: llm.buffer @attention offset 2048

llm.model @tiny architecture "llama" hidden_size 64 intermediate_size 1024 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "model.embed_tokens.weight" : tensor<128x64xbf16>
  llm.weight @input_norm norm "model.layers.{layer}.input_layernorm.weight" : tensor<2x64xbf16>
  llm.weight @q_proj matrix "model.layers.{layer}.self_attn.q_proj.weight" : tensor<2x64x64xbf16>
  llm.weight @k_proj matrix "model.layers.{layer}.self_attn.k_proj.weight" : tensor<2x32x64xbf16>
  llm.weight @v_proj matrix "model.layers.{layer}.self_attn.v_proj.weight" : tensor<2x32x64xbf16>
  llm.weight @o_proj matrix "model.layers.{layer}.self_attn.o_proj.weight" : tensor<2x64x64xbf16>
  llm.weight @post_attention_norm norm "model.layers.{layer}.post_attention_layernorm.weight" : tensor<2x64xbf16>
  llm.weight @gate_proj matrix "model.layers.{layer}.mlp.gate_proj.weight" : tensor<2x1024x64xbf16>
  llm.weight @up_proj matrix "model.layers.{layer}.mlp.up_proj.weight" : tensor<2x1024x64xbf16>
  llm.weight @down_proj matrix "model.layers.{layer}.mlp.down_proj.weight" : tensor<2x64x1024xbf16>
  llm.weight @norm norm "model.norm.weight" : tensor<64xbf16>
  llm.rope_table @rope [1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125]
  llm.state @kv : !llm.kv<2x16xbf16> layers 0:2
  llm.entry @decode(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %n = llm.rms_norm %h, @input_norm eps 1.0e-5 : tensor<?x64xf32>
      %q = llm.linear %n, @q_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %k = llm.linear %n, @k_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %v = llm.linear %n, @v_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %qr = llm.rope %q, %rows, @rope head_dim 16 : tensor<?x64xf32>
      %kr = llm.rope %k, %rows, @rope head_dim 16 : tensor<?x32xf32>
      llm.kv_write %kr, %v, %rows, @kv : tensor<?x32xf32>, tensor<?x32xf32>
      %a = llm.attention %qr, %rows, @kv scale 0.25 : tensor<?x64xf32> -> tensor<?x64xf32>
      %o = llm.linear %a, @o_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %r = llm.add %h, %o : tensor<?x64xf32>
      %n2 = llm.rms_norm %r, @post_attention_norm eps 1.0e-5 : tensor<?x64xf32>
      %g = llm.linear %n2, @gate_proj : tensor<?x64xf32> -> tensor<?x1024xf32>
      %u = llm.linear %n2, @up_proj : tensor<?x64xf32> -> tensor<?x1024xf32>
      %s = llm.activation %g silu : tensor<?x1024xf32>
      %m = llm.mul %s, %u : tensor<?x1024xf32>
      %d = llm.linear %m, @down_proj : tensor<?x1024xf32> -> tensor<?x64xf32>
      %z = llm.add %r, %d : tensor<?x64xf32>
      llm.yield %z : tensor<?x64xf32>
    }
    %f = llm.rms_norm %y, @norm eps 1.0e-5 : tensor<?x64xf32>
    %l = llm.logits %f, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
  llm.entry @prefill(%rows: !llm.rows) prefill max_rows 64 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %n = llm.rms_norm %h, @input_norm eps 1.0e-5 : tensor<?x64xf32>
      %q = llm.linear %n, @q_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %k = llm.linear %n, @k_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %v = llm.linear %n, @v_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %qr = llm.rope %q, %rows, @rope head_dim 16 : tensor<?x64xf32>
      %kr = llm.rope %k, %rows, @rope head_dim 16 : tensor<?x32xf32>
      llm.kv_write %kr, %v, %rows, @kv : tensor<?x32xf32>, tensor<?x32xf32>
      %a = llm.attention %qr, %rows, @kv scale 0.25 : tensor<?x64xf32> -> tensor<?x64xf32>
      %o = llm.linear %a, @o_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %r = llm.add %h, %o : tensor<?x64xf32>
      %n2 = llm.rms_norm %r, @post_attention_norm eps 1.0e-5 : tensor<?x64xf32>
      %g = llm.linear %n2, @gate_proj : tensor<?x64xf32> -> tensor<?x1024xf32>
      %u = llm.linear %n2, @up_proj : tensor<?x64xf32> -> tensor<?x1024xf32>
      %s = llm.activation %g silu : tensor<?x1024xf32>
      %m = llm.mul %s, %u : tensor<?x1024xf32>
      %d = llm.linear %m, @down_proj : tensor<?x1024xf32> -> tensor<?x64xf32>
      %z = llm.add %r, %d : tensor<?x64xf32>
      llm.yield %z : tensor<?x64xf32>
    }
    %f = llm.rms_norm %y, @norm eps 1.0e-5 : tensor<?x64xf32>
    %l = llm.logits %f, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}
