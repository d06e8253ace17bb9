// Every op in every spelling: printed, parsed and printed again, in the generic form too.
// RUN: llmc-opt %s | llmc-opt | FileCheck %s --check-prefixes=CHECK,TEXT
// RUN: llmc-opt %s --mlir-print-op-generic | llmc-opt | FileCheck %s

// CHECK-LABEL: llm.model @m architecture "llama" hidden_size 32 intermediate_size 48 num_heads 4 num_kv_heads 2 head_dim 8 num_layers 3 vocab_size 50 max_seq_len 64 max_batch 2 {
llm.model @m architecture "llama" hidden_size 32 intermediate_size 48 num_heads 4 num_kv_heads 2 head_dim 8
    num_layers 3 vocab_size 50 max_seq_len 64 max_batch 2 {
  // CHECK-NEXT: llm.weight @embed_tokens matrix "embed" : tensor<50x32xbf16>
  llm.weight @embed_tokens matrix "embed" : tensor<50x32xbf16>
  // CHECK-NEXT: llm.weight @input_norm norm "{layer}.norm" : tensor<3x32xbf16>
  llm.weight @input_norm norm "{layer}.norm" : tensor<3x32xbf16>
  llm.weight @q_proj matrix "{layer}.q" : tensor<3x32x32xbf16>
  llm.weight @k_proj matrix "{layer}.k" : tensor<3x16x32xbf16>
  llm.weight @v_proj matrix "{layer}.v" : tensor<3x16x32xbf16>
  // CHECK: llm.weight @q_proj_bias bias "{layer}.q_bias" : tensor<3x32xbf16>
  llm.weight @q_proj_bias bias "{layer}.q_bias" : tensor<3x32xbf16>
  llm.weight @k_proj_bias bias "{layer}.k_bias" : tensor<3x16xbf16>
  llm.weight @v_proj_bias bias "{layer}.v_bias" : tensor<3x16xbf16>
  llm.weight @o_proj matrix "{layer}.o" : tensor<3x32x32xbf16>
  llm.weight @o_proj_bias bias "{layer}.o_bias" : tensor<3x32xbf16>
  llm.weight @gate_proj matrix "{layer}.gate" : tensor<3x48x32xbf16>
  llm.weight @up_proj matrix "{layer}.up" : tensor<3x48x32xbf16>
  llm.weight @gate_proj_bias bias "{layer}.gate_bias" : tensor<3x48xbf16>
  llm.weight @up_proj_bias bias "{layer}.up_bias" : tensor<3x48xbf16>
  llm.weight @down_proj matrix "{layer}.down" : tensor<3x32x48xbf16>
  // CHECK: llm.weight @blocks matrix "blocks" : tensor<32x70x!llm.q<q8_0>>
  llm.weight @blocks matrix "blocks" : tensor<32x70x!llm.q<q8_0>>
  // CHECK: llm.weight @late matrix "{layer}.late" first_layer 2 : tensor<1x32x32xbf16>
  llm.weight @late matrix "{layer}.late" first_layer 2 : tensor<1x32x32xbf16>
  llm.weight @norm norm "norm" : tensor<32xbf16>
  llm.weight @lm_head matrix "head" : tensor<50x32xbf16>
  // No digit is lost, but in the generic form.
  // TEXT: llm.rope_table @rope [1.000000e+00, 3.000000e-01, 1.000000e-01, 0.80584218776148187]
  llm.rope_table @rope [1.0, 0.3, 0.1, 0.80584218776148187]
  // CHECK: llm.rope_table @scaled scale 1.500000e+00 [1.000000e+00]
  llm.rope_table @scaled scale 1.5 [1.0]
  // CHECK: llm.state @kv : !llm.kv<2x8xf16> layers 0:3
  llm.state @kv : !llm.kv<2x8xf16> layers 0:3
  // CHECK-NEXT: llm.state @kv_window16 : !llm.kv<2x8xf16> window 16 layers 0:2
  llm.state @kv_window16 : !llm.kv<2x8xf16> window 16 layers 0:2
  // CHECK-NEXT: llm.state @kv_f32 : !llm.kv<2x8xf32> layers 0:3
  llm.state @kv_f32 : !llm.kv<2x8xf32> layers 0:3
  // CHECK-NEXT: llm.state @conv : !llm.recurrent<48x3xbf16> layers 0:1, 2:3
  llm.state @conv : !llm.recurrent<48x3xbf16> layers 0:1, 2:3
  // CHECK-NEXT: llm.state @delta : !llm.recurrent<4x8x8xf32> layers 0:1, 2:3
  llm.state @delta : !llm.recurrent<4x8x8xf32> layers 0:1, 2:3

  // CHECK-LABEL: llm.entry @primitive(%rows: !llm.rows) decode max_rows 8 {
  llm.entry @primitive(%rows: !llm.rows) decode max_rows 8 {
    // CHECK-NEXT: %x = llm.embed %rows, @embed_tokens : tensor<?x32xf32>
    %0 = llm.embed %rows, @embed_tokens : tensor<?x32xf32>
    // CHECK-NEXT: %y = llm.layers %h = %x first 0 count 2 : tensor<?x32xf32> {
    %1 = llm.layers %arg = %0 first 0 count 2 : tensor<?x32xf32> {
      // CHECK-NEXT: [[N:%.*]] = llm.rms_norm %h, @input_norm eps 1.000000e-05 : tensor<?x32xf32>
      %2 = llm.rms_norm %arg, @input_norm eps 1.0e-5 : tensor<?x32xf32>
      // CHECK-NEXT: %q = llm.linear [[N]], @q_proj : tensor<?x32xf32> -> tensor<?x32xf32>
      %3 = llm.linear %2, @q_proj : tensor<?x32xf32> -> tensor<?x32xf32>
      // CHECK-NEXT: [[QB:%.*]] = llm.bias %q, @q_proj_bias : tensor<?x32xf32>
      %4 = llm.bias %3, @q_proj_bias : tensor<?x32xf32>
      // CHECK-NEXT: %k = llm.linear
      %5 = llm.linear %2, @k_proj : tensor<?x32xf32> -> tensor<?x16xf32>
      // CHECK-NEXT: %v = llm.linear
      %6 = llm.linear %2, @v_proj : tensor<?x32xf32> -> tensor<?x16xf32>
      // CHECK-NEXT: %rope = llm.rope [[QB]], %rows, @rope head_dim 8 : tensor<?x32xf32>
      %7 = llm.rope %4, %rows, @rope head_dim 8 : tensor<?x32xf32>
      // CHECK-NEXT: llm.kv_write %k, %v, %rows, @kv : tensor<?x16xf32>, tensor<?x16xf32>
      llm.kv_write %5, %6, %rows, @kv : tensor<?x16xf32>, tensor<?x16xf32>
      // CHECK-NEXT: %attention = llm.attention %rope, %rows, @kv scale 2.500000e-01 : tensor<?x32xf32> -> tensor<?x32xf32>
      %8 = llm.attention %7, %rows, @kv scale 0.25 : tensor<?x32xf32> -> tensor<?x32xf32>
      // CHECK-NEXT: llm.attention %rope, %rows, @kv_window16 scale 2.500000e-01 : tensor<?x32xf32> -> tensor<?x32xf32>
      %9 = llm.attention %7, %rows, @kv_window16 scale 0.25 : tensor<?x32xf32> -> tensor<?x32xf32>
      // CHECK-NEXT: %add = llm.add %attention, %{{.*}} : tensor<?x32xf32>
      %10 = llm.add %8, %9 : tensor<?x32xf32>
      // CHECK-NEXT: %gate = llm.linear
      %11 = llm.linear %10, @gate_proj : tensor<?x32xf32> -> tensor<?x48xf32>
      // CHECK-NEXT: %silu = llm.activation %gate silu : tensor<?x48xf32>
      %12 = llm.activation %11 silu : tensor<?x48xf32>
      // CHECK-NEXT: %gelu = llm.activation %gate gelu : tensor<?x48xf32>
      %13 = llm.activation %11 gelu : tensor<?x48xf32>
      // CHECK-NEXT: %gelu_tanh = llm.activation %gate gelu_tanh : tensor<?x48xf32>
      %14 = llm.activation %11 gelu_tanh : tensor<?x48xf32>
      // CHECK-NEXT: %relu = llm.activation %gate relu : tensor<?x48xf32>
      %15 = llm.activation %11 relu : tensor<?x48xf32>
      // CHECK-NEXT: %mul = llm.mul %silu, %gelu : tensor<?x48xf32>
      %16 = llm.mul %12, %13 : tensor<?x48xf32>
      // CHECK-NEXT: %down = llm.linear %mul, @down_proj : tensor<?x48xf32> -> tensor<?x32xf32>
      %17 = llm.linear %16, @down_proj : tensor<?x48xf32> -> tensor<?x32xf32>
      // CHECK-NEXT: llm.yield %down : tensor<?x32xf32>
      llm.yield %17 : tensor<?x32xf32>
    }
    // CHECK: llm.layers %h = %y first 2 count 1 : tensor<?x32xf32> {
    %18 = llm.layers %h = %1 first 2 count 1 : tensor<?x32xf32> {
      %19 = llm.linear %h, @late : tensor<?x32xf32> -> tensor<?x32xf32>
      llm.yield %19 : tensor<?x32xf32>
    }
    // CHECK: %norm = llm.rms_norm
    %20 = llm.rms_norm %18, @norm eps 1.0e-5 : tensor<?x32xf32>
    // CHECK-NEXT: %logits = llm.logits %norm, %rows, @lm_head : tensor<?x32xf32> -> tensor<?x50xf32>
    %21 = llm.logits %20, %rows, @lm_head : tensor<?x32xf32> -> tensor<?x50xf32>
    // CHECK-NEXT: llm.return %logits : tensor<?x50xf32>
    llm.return %21 : tensor<?x50xf32>
  }

  // CHECK-LABEL: llm.entry @fused
  llm.entry @fused(%rows: !llm.rows) prefill max_rows 512 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x32xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x32xf32> {
      // CHECK: %q = llm.norm_qkv %h, %rows, @kv_f32 norm @input_norm eps 1.000000e-05 proj @q_proj, @k_proj, @v_proj bias @q_proj_bias, @k_proj_bias, @v_proj_bias rope @rope : tensor<?x32xf32> -> tensor<?x32xf32>
      %q = llm.norm_qkv %h, %rows, @kv_f32 norm @input_norm eps 1.0e-5 proj @q_proj, @k_proj, @v_proj bias @q_proj_bias, @k_proj_bias, @v_proj_bias rope @rope : tensor<?x32xf32> -> tensor<?x32xf32>
      // CHECK-NEXT: llm.norm_qkv %h, %rows, @kv_f32 norm @input_norm eps 1.000000e-05 proj @q_proj, @k_proj, @v_proj : tensor<?x32xf32> -> tensor<?x32xf32>
      %q2 = llm.norm_qkv %h, %rows, @kv_f32 norm @input_norm eps 1.0e-5 proj @q_proj, @k_proj, @v_proj : tensor<?x32xf32> -> tensor<?x32xf32>
      // CHECK-NEXT: %o = llm.linear_residual %{{.*}}, %h, @o_proj bias @o_proj_bias : tensor<?x32xf32> -> tensor<?x32xf32>
      %r = llm.linear_residual %q2, %h, @o_proj bias @o_proj_bias : tensor<?x32xf32> -> tensor<?x32xf32>
      // CHECK-NEXT: %glu = llm.norm_glu %o norm @input_norm eps 1.000000e-05 proj @gate_proj, @up_proj bias @gate_proj_bias, @up_proj_bias gelu_tanh : tensor<?x32xf32> -> tensor<?x48xf32>
      %g = llm.norm_glu %r norm @input_norm eps 1.0e-5 proj @gate_proj, @up_proj bias @gate_proj_bias, @up_proj_bias gelu_tanh : tensor<?x32xf32> -> tensor<?x48xf32>
      // CHECK-NEXT: llm.norm_glu %o norm @input_norm eps 1.000000e-05 proj @gate_proj, @up_proj silu : tensor<?x32xf32> -> tensor<?x48xf32>
      %g2 = llm.norm_glu %r norm @input_norm eps 1.0e-5 proj @gate_proj, @up_proj silu : tensor<?x32xf32> -> tensor<?x48xf32>
      // CHECK-NEXT: %down = llm.linear_residual %{{.*}}, %o, @down_proj : tensor<?x48xf32> -> tensor<?x32xf32>
      %z = llm.linear_residual %g2, %r, @down_proj : tensor<?x48xf32> -> tensor<?x32xf32>
      llm.yield %z : tensor<?x32xf32>
    }
    // CHECK: %logits = llm.norm_logits %y, %rows norm @norm eps 1.000000e-05, @lm_head : tensor<?x32xf32> -> tensor<?x50xf32>
    %l = llm.norm_logits %y, %rows norm @norm eps 1.0e-5, @lm_head : tensor<?x32xf32> -> tensor<?x50xf32>
    llm.return %l : tensor<?x50xf32>
  }

  // CHECK: llm.packed_weight @p_qkv panels heads of [@q_proj, @k_proj, @v_proj] head_rows 8 : bf16
  llm.packed_weight @p_qkv panels heads of [@q_proj, @k_proj, @v_proj] head_rows 8 : bf16
  // CHECK-NEXT: llm.packed_weight @p_bias rows concat of [@q_proj_bias, @k_proj_bias, @v_proj_bias] : f32
  llm.packed_weight @p_bias rows concat of [@q_proj_bias, @k_proj_bias, @v_proj_bias] : f32
  // CHECK-NEXT: llm.packed_weight @p_glu panels interleave of [@gate_proj, @up_proj] : bf16
  llm.packed_weight @p_glu panels interleave of [@gate_proj, @up_proj] : bf16
  llm.packed_weight @p_input_norm rows concat of [@input_norm] : f32
  llm.packed_weight @p_norm rows concat of [@norm] : f32
  llm.packed_weight @p_embed rows concat of [@embed_tokens] : bf16
  llm.packed_weight @p_head panels concat of [@lm_head] : bf16

  // CHECK: llm.kernel @k_embed decode max_rows 8 row_strides [32] {
  // CHECK-NEXT: ^bb0(%rows: !llm.rows):
  llm.kernel @k_embed decode max_rows 8 row_strides [32] {
  ^bb0(%rows: !llm.rows):
    %x = llm.embed %rows, @embed_tokens : tensor<?x32xf32>
    llm.yield %x : tensor<?x32xf32>
  }
  llm.kernel @k_qkv decode max_rows 8 row_strides [32, 48] {
  ^bb0(%x: tensor<?x32xf32>, %rows: !llm.rows):
    %q = llm.norm_qkv %x, %rows, @kv norm @input_norm eps 1.0e-5 proj @q_proj, @k_proj, @v_proj bias @q_proj_bias, @k_proj_bias, @v_proj_bias rope @rope : tensor<?x32xf32> -> tensor<?x32xf32>
    llm.yield %q : tensor<?x32xf32>
  }
  // CHECK: llm.kernel @k_kv_write
  llm.kernel @k_kv_write decode max_rows 8 row_strides [16, 16] {
  ^bb0(%k: tensor<?x16xf32>, %v: tensor<?x16xf32>, %rows: !llm.rows):
    llm.kv_write %k, %v, %rows, @kv : tensor<?x16xf32>, tensor<?x16xf32>
    // CHECK: llm.kv_write
    // CHECK-NEXT: llm.yield
    llm.yield
  }
  llm.kernel @k_logits decode max_rows 8 row_strides [32, 50] {
  ^bb0(%x: tensor<?x32xf32>, %rows: !llm.rows):
    %l = llm.norm_logits %x, %rows norm @norm eps 1.0e-5, @lm_head : tensor<?x32xf32> -> tensor<?x50xf32>
    llm.yield %l : tensor<?x50xf32>
  }

  // CHECK-LABEL: llm.schedule @decode decode max_rows 8 max_logits_rows 2 arena_bytes 4096 logits @logits {
  llm.schedule @decode decode max_rows 8 max_logits_rows 2 arena_bytes 4096 logits @logits {
    // CHECK-NEXT: llm.buffer @h offset 0 rows 8 width 32 row_stride 32
    llm.buffer @h offset 0 rows 8 width 32 row_stride 32
    llm.buffer @q offset 1024 rows 8 width 32 row_stride 48
    llm.buffer @logits offset 2560 rows 2 width 50 row_stride 50
    // As floats it would end after the arena.
    // CHECK: llm.buffer @quants offset 3840 rows 8 width 32 row_stride 32 : i8
    llm.buffer @quants offset 3840 rows 8 width 32 row_stride 32 : i8
    // CHECK: llm.phase @k_embed tiles 1 rows_per_tile 1 [#llm.operand<read input @token_id>, #llm.operand<read weights @p_embed>, #llm.operand<write arena @h>]
    llm.phase @k_embed tiles 1 rows_per_tile 1 [#llm.operand<read input @token_id>, #llm.operand<read weights @p_embed>, #llm.operand<write arena @h>]
    // CHECK-NEXT: llm.repeat first_layer 0 num_layers 3 {
    llm.repeat first_layer 0 num_layers 3 {
      // CHECK-NEXT: llm.phase @k_qkv tiles 8 rows_per_tile 0
      // CHECK-SAME: #llm.operand<read rope @rope>, #llm.operand<read input @pos>, #llm.operand<read input @seq>, #llm.operand<read block_table @kv>, #llm.operand<write keys @kv>, #llm.operand<write values @kv>
      llm.phase @k_qkv tiles 8 rows_per_tile 0 [#llm.operand<read arena @h>, #llm.operand<read weights @p_input_norm>, #llm.operand<read weights @p_qkv>, #llm.operand<read weights @p_bias>, #llm.operand<read rope @rope>, #llm.operand<read input @pos>, #llm.operand<read input @seq>, #llm.operand<read block_table @kv>, #llm.operand<write keys @kv>, #llm.operand<write values @kv>, #llm.operand<write arena @q>]
    }
    llm.phase @k_logits tiles 1 rows_per_tile 0 [#llm.operand<read arena @h>, #llm.operand<read weights @p_norm>, #llm.operand<read weights @p_head>, #llm.operand<read input @logits_rows>, #llm.operand<write arena @logits>]
  }
}

// Steps of every kind, and operands in every space. Kinds do not follow from bounds.
// CHECK-LABEL: llm.model @kinds
// CHECK-SAME: attributes {operands = [#llm.operand<read_write recurrent @delta>, #llm.operand<read slots @delta>]} {
llm.model @kinds architecture "x" hidden_size 8 intermediate_size 12 num_heads 1 num_kv_heads 1 head_dim 8 num_layers 1
    vocab_size 50 max_seq_len 64 max_batch 2
    attributes {operands = [#llm.operand<read_write recurrent @delta>, #llm.operand<read slots @delta>]} {
  llm.weight @embed_tokens matrix "embed" : tensor<50x8xf32>
  llm.packed_weight @p panels concat of [@embed_tokens] : f32
  llm.state @kv : !llm.kv<1x8xf32> window 64 layers 0:1
  llm.state @delta : !llm.recurrent<1x8x8xf32> layers 0:1
  // CHECK: llm.entry @e0(%rows: !llm.rows) prefill max_rows 8 {
  llm.entry @e0(%rows: !llm.rows) prefill max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %l = llm.logits %x, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x50xf32>
    llm.return %l : tensor<?x50xf32>
  }
  // CHECK: llm.entry @e1(%rows: !llm.rows) decode max_rows 16 {
  llm.entry @e1(%rows: !llm.rows) decode max_rows 16 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %l = llm.logits %x, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x50xf32>
    llm.return %l : tensor<?x50xf32>
  }
  // CHECK: llm.entry @e2(%rows: !llm.rows) verify max_rows 64 {
  llm.entry @e2(%rows: !llm.rows) verify max_rows 64 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %l = llm.logits %x, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x50xf32>
    llm.return %l : tensor<?x50xf32>
  }
  // CHECK: llm.entry @e3(%rows: !llm.rows) commit max_rows 64 {
  llm.entry @e3(%rows: !llm.rows) commit max_rows 64 {
    llm.return
  }
  // CHECK: llm.entry @e4(%rows: !llm.rows) embed max_rows 64 {
  llm.entry @e4(%rows: !llm.rows) embed max_rows 64 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %l = llm.logits %x, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x50xf32>
    llm.return %l : tensor<?x50xf32>
  }
  // CHECK: llm.entry @e5(%rows: !llm.rows) mtp max_rows 1 {
  llm.entry @e5(%rows: !llm.rows) mtp max_rows 1 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %l = llm.logits %x, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x50xf32>
    llm.return %l : tensor<?x50xf32>
  }
  // CHECK: llm.kernel @k_embed verify max_rows 64 row_strides [8] {
  llm.kernel @k_embed verify max_rows 64 row_strides [8] {
  ^bb0(%rows: !llm.rows):
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    llm.yield %x : tensor<?x8xf32>
  }
  // CHECK: llm.kernel @k_attention verify max_rows 64 row_strides [8, 8] {
  llm.kernel @k_attention verify max_rows 64 row_strides [8, 8] {
  ^bb0(%q: tensor<?x8xf32>, %rows: !llm.rows):
    %a = llm.attention %q, %rows, @kv scale 0.25 : tensor<?x8xf32> -> tensor<?x8xf32>
    llm.yield %a : tensor<?x8xf32>
  }
  // CHECK-LABEL: llm.schedule @s verify max_rows 64 max_logits_rows 64 arena_bytes 16896 logits @logits {
  llm.schedule @s verify max_rows 64 max_logits_rows 64 arena_bytes 16896 logits @logits {
    llm.buffer @h offset 0 rows 64 width 8 row_stride 8
    llm.buffer @a offset 2048 rows 64 width 8 row_stride 8
    llm.buffer @logits offset 4096 rows 64 width 50 row_stride 50
    llm.phase @k_embed tiles 1 rows_per_tile 1 [#llm.operand<read input @token_id>, #llm.operand<read weights @p>, #llm.operand<write arena @h>]
    llm.repeat first_layer 0 num_layers 1 {
      // CHECK: llm.phase @k_attention tiles 1 rows_per_tile 1 [#llm.operand<read arena @h>, #llm.operand<read input @parent>, #llm.operand<read input @pos>, #llm.operand<read input @slot>, #llm.operand<read input @seq>, #llm.operand<read block_table @kv>, #llm.operand<read keys @kv>, #llm.operand<read values @kv>, #llm.operand<write arena @a>]
      llm.phase @k_attention tiles 1 rows_per_tile 1 [#llm.operand<read arena @h>, #llm.operand<read input @parent>, #llm.operand<read input @pos>, #llm.operand<read input @slot>, #llm.operand<read input @seq>, #llm.operand<read block_table @kv>, #llm.operand<read keys @kv>, #llm.operand<read values @kv>, #llm.operand<write arena @a>]
    }
  }
}
