// RUN: llmc-opt %s --llm-fuse-residual --split-input-file --verify-diagnostics | FileCheck %s

// CHECK-LABEL: llm.entry @fuses_the_right_side
// CHECK:       %[[H:.*]] = llm.embed
// CHECK-NEXT:  llm.linear_residual %[[H]], %[[H]], @o_proj :
// CHECK-NOT:   llm.add
llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.weight @o_proj matrix "o" : tensor<64x64xf32>
  llm.weight @o_bias bias "ob" : tensor<64xf32>
  llm.weight @norm norm "n" : tensor<64xf32>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xf32>
  llm.entry @fuses_the_right_side(%rows: !llm.rows) decode max_rows 4 {
    %h = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %o = llm.linear %h, @o_proj : tensor<?x64xf32> -> tensor<?x64xf32>
    // expected-remark@+1 {{linear_residual: fused @o_proj, add}}
    %z = llm.add %h, %o : tensor<?x64xf32>
    %l = llm.logits %z, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @fuses_the_left_side_with_bias
// CHECK:       llm.linear_residual %{{.*}}, %{{.*}}, @o_proj bias @o_bias :
// CHECK-NOT:   llm.add
llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.weight @o_proj matrix "o" : tensor<64x64xf32>
  llm.weight @o_bias bias "ob" : tensor<64xf32>
  llm.weight @norm norm "n" : tensor<64xf32>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xf32>
  llm.entry @fuses_the_left_side_with_bias(%rows: !llm.rows) decode max_rows 4 {
    %h = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %o = llm.linear %h, @o_proj : tensor<?x64xf32> -> tensor<?x64xf32>
    %ob = llm.bias %o, @o_bias : tensor<?x64xf32>
    // expected-remark@+1 {{linear_residual: fused @o_proj, bias, add}}
    %z = llm.add %ob, %h : tensor<?x64xf32>
    %l = llm.logits %z, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @linear_has_a_second_use
// CHECK-NOT:   llm.linear_residual
// CHECK:       llm.add
llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.weight @o_proj matrix "o" : tensor<64x64xf32>
  llm.weight @o_bias bias "ob" : tensor<64xf32>
  llm.weight @norm norm "n" : tensor<64xf32>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xf32>
  llm.entry @linear_has_a_second_use(%rows: !llm.rows) decode max_rows 4 {
    %h = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %o = llm.linear %h, @o_proj : tensor<?x64xf32> -> tensor<?x64xf32>
    // expected-remark@+1 {{linear_residual not fused: @o_proj has another use}}
    %z0 = llm.add %h, %o : tensor<?x64xf32>
    %z = llm.mul %z0, %o : tensor<?x64xf32>
    %l = llm.logits %z, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @a_linear_added_to_itself
// CHECK-NOT:   llm.linear_residual
// CHECK:       llm.add
llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.weight @o_proj matrix "o" : tensor<64x64xf32>
  llm.weight @o_bias bias "ob" : tensor<64xf32>
  llm.weight @norm norm "n" : tensor<64xf32>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xf32>
  llm.entry @a_linear_added_to_itself(%rows: !llm.rows) decode max_rows 4 {
    %h = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %o = llm.linear %h, @o_proj : tensor<?x64xf32> -> tensor<?x64xf32>
    // expected-remark@+1 {{linear_residual not fused: @o_proj has another use}}
    %z = llm.add %o, %o : tensor<?x64xf32>
    %l = llm.logits %z, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @a_sum_without_a_linear
// CHECK-NOT:   llm.linear_residual
// CHECK:       llm.add
llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.weight @o_proj matrix "o" : tensor<64x64xf32>
  llm.weight @o_bias bias "ob" : tensor<64xf32>
  llm.weight @norm norm "n" : tensor<64xf32>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xf32>
  llm.entry @a_sum_without_a_linear(%rows: !llm.rows) decode max_rows 4 {
    %h = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %z = llm.add %h, %h : tensor<?x64xf32>
    %l = llm.logits %z, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @scaled
// CHECK: llm.linear_residual %h, %h, @o_proj scale 2.500000e-01
// CHECK-NOT: llm.scale
llm.model @m architecture "x" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.weight @n norm "{layer}.n" : tensor<2x64xf32>
  llm.weight @nb bias "{layer}.nb" : tensor<2x64xf32>
  llm.weight @head norm "{layer}.head" : tensor<2x16xf32>
  llm.weight @wide norm "{layer}.wide" : tensor<2x32xf32>
  llm.weight @q_proj matrix "{layer}.q" : tensor<2x64x64xf32>
  llm.weight @k_proj matrix "{layer}.k" : tensor<2x32x64xf32>
  llm.weight @v_proj matrix "{layer}.v" : tensor<2x32x64xf32>
  llm.weight @o_proj matrix "{layer}.o" : tensor<2x64x64xf32>
  llm.weight @up_proj matrix "{layer}.u" : tensor<2x96x64xf32>
  llm.weight @up_bias bias "{layer}.ub" : tensor<2x96xf32>
  llm.weight @down_proj matrix "{layer}.d" : tensor<2x64x96xf32>
  llm.rope_table @rope [1.0, 0.5, 0.25, 0.125]
  llm.entry @scaled(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %o = llm.linear %h, @o_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %s = llm.scale %o by 0.25 : tensor<?x64xf32>
      // expected-remark@+1 {{linear_residual: fused @o_proj, scale, add}}
      %r = llm.add %h, %s : tensor<?x64xf32>
      llm.yield %r : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}
