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
  llm.entry @fuses_the_right_side(%rows: !llm.rows, %kv: !llm.kv_cache<2x16xf32>) max_rows 4 {
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
  llm.entry @fuses_the_left_side_with_bias(%rows: !llm.rows, %kv: !llm.kv_cache<2x16xf32>) max_rows 4 {
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
  llm.entry @linear_has_a_second_use(%rows: !llm.rows, %kv: !llm.kv_cache<2x16xf32>) max_rows 4 {
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
  llm.entry @a_linear_added_to_itself(%rows: !llm.rows, %kv: !llm.kv_cache<2x16xf32>) max_rows 4 {
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
  llm.entry @a_sum_without_a_linear(%rows: !llm.rows, %kv: !llm.kv_cache<2x16xf32>) max_rows 4 {
    %h = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %z = llm.add %h, %h : tensor<?x64xf32>
    %l = llm.logits %z, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}
