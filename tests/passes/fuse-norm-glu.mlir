// RUN: llmc-opt %s --llm-fuse-norm-glu --split-input-file --verify-diagnostics | FileCheck %s

// CHECK-LABEL: llm.entry @fuses
// CHECK:      %[[G:.*]] = llm.norm_glu %{{.*}} norm @norm eps 1.000000e-05 proj @gate_proj, @up_proj silu : tensor<?x64xf32> -> tensor<?x96xf32>
// CHECK-NEXT: llm.linear %[[G]], @down_proj
llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf16>
  llm.weight @norm norm "n" : tensor<64xf16>
  llm.weight @gate_proj matrix "gate" : tensor<96x64xf16>
  llm.weight @up_proj matrix "up" : tensor<96x64xf16>
  llm.weight @down_proj matrix "down" : tensor<64x96xf16>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xf16>
  llm.entry @fuses(%rows: !llm.rows) decode max_rows 4 {
    %h = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %n = llm.rms_norm %h, @norm eps 1.0e-5 : tensor<?x64xf32>
    %g = llm.linear %n, @gate_proj : tensor<?x64xf32> -> tensor<?x96xf32>
    %u = llm.linear %n, @up_proj : tensor<?x64xf32> -> tensor<?x96xf32>
    %s = llm.activation %g silu : tensor<?x96xf32>
    // expected-remark@+1 {{norm_glu: fused @norm, @gate_proj, @up_proj, activation, mul}}
    %m = llm.mul %s, %u : tensor<?x96xf32>
    %z = llm.linear %m, @down_proj : tensor<?x96xf32> -> tensor<?x64xf32>
    %l = llm.logits %z, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @fuses_in_the_other_order_with_biases
// CHECK:      llm.norm_glu %{{.*}} proj @gate_proj, @up_proj bias @gate_bias, @up_bias gelu_tanh
llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf16>
  llm.weight @norm norm "n" : tensor<64xf16>
  llm.weight @gate_proj matrix "gate" : tensor<96x64xf16>
  llm.weight @up_proj matrix "up" : tensor<96x64xf16>
  llm.weight @gate_bias bias "gb" : tensor<96xf16>
  llm.weight @up_bias bias "ub" : tensor<96xf16>
  llm.weight @down_proj matrix "down" : tensor<64x96xf16>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xf16>
  llm.entry @fuses_in_the_other_order_with_biases(%rows: !llm.rows) decode max_rows 4 {
    %h = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %n = llm.rms_norm %h, @norm eps 1.0e-5 : tensor<?x64xf32>
    %u = llm.linear %n, @up_proj : tensor<?x64xf32> -> tensor<?x96xf32>
    %g = llm.linear %n, @gate_proj : tensor<?x64xf32> -> tensor<?x96xf32>
    %gb = llm.bias %g, @gate_bias : tensor<?x96xf32>
    %ub = llm.bias %u, @up_bias : tensor<?x96xf32>
    %s = llm.activation %gb gelu_tanh : tensor<?x96xf32>
    // expected-remark@+1 {{norm_glu: fused @norm, @gate_proj, @up_proj, biases, activation, mul}}
    %m = llm.mul %ub, %s : tensor<?x96xf32>
    %z = llm.linear %m, @down_proj : tensor<?x96xf32> -> tensor<?x64xf32>
    %l = llm.logits %z, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @activation_has_a_second_use
// CHECK-NOT:   llm.norm_glu
// CHECK:       llm.mul
llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf16>
  llm.weight @norm norm "n" : tensor<64xf16>
  llm.weight @gate_proj matrix "gate" : tensor<96x64xf16>
  llm.weight @up_proj matrix "up" : tensor<96x64xf16>
  llm.weight @down_proj matrix "down" : tensor<64x96xf16>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xf16>
  llm.entry @activation_has_a_second_use(%rows: !llm.rows) decode max_rows 4 {
    %h = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %n = llm.rms_norm %h, @norm eps 1.0e-5 : tensor<?x64xf32>
    %g = llm.linear %n, @gate_proj : tensor<?x64xf32> -> tensor<?x96xf32>
    %u = llm.linear %n, @up_proj : tensor<?x64xf32> -> tensor<?x96xf32>
    %s = llm.activation %g silu : tensor<?x96xf32>
    // expected-remark@+1 {{norm_glu not fused: the activation has another use}}
    %m0 = llm.mul %s, %u : tensor<?x96xf32>
    %m = llm.add %m0, %s : tensor<?x96xf32>
    %z = llm.linear %m, @down_proj : tensor<?x96xf32> -> tensor<?x64xf32>
    %l = llm.logits %z, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @up_has_a_second_use
// CHECK-NOT:   llm.norm_glu
// CHECK:       llm.mul
llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf16>
  llm.weight @norm norm "n" : tensor<64xf16>
  llm.weight @gate_proj matrix "gate" : tensor<96x64xf16>
  llm.weight @up_proj matrix "up" : tensor<96x64xf16>
  llm.weight @down_proj matrix "down" : tensor<64x96xf16>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xf16>
  llm.entry @up_has_a_second_use(%rows: !llm.rows) decode max_rows 4 {
    %h = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %n = llm.rms_norm %h, @norm eps 1.0e-5 : tensor<?x64xf32>
    %g = llm.linear %n, @gate_proj : tensor<?x64xf32> -> tensor<?x96xf32>
    %u = llm.linear %n, @up_proj : tensor<?x64xf32> -> tensor<?x96xf32>
    %s = llm.activation %g silu : tensor<?x96xf32>
    // expected-remark@+1 {{norm_glu not fused: @up_proj has another use}}
    %m0 = llm.mul %s, %u : tensor<?x96xf32>
    %m = llm.add %m0, %u : tensor<?x96xf32>
    %z = llm.linear %m, @down_proj : tensor<?x96xf32> -> tensor<?x64xf32>
    %l = llm.logits %z, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @no_norm
// CHECK-NOT:   llm.norm_glu
// CHECK:       llm.mul
llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf16>
  llm.weight @norm norm "n" : tensor<64xf16>
  llm.weight @gate_proj matrix "gate" : tensor<96x64xf16>
  llm.weight @up_proj matrix "up" : tensor<96x64xf16>
  llm.weight @down_proj matrix "down" : tensor<64x96xf16>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xf16>
  llm.entry @no_norm(%rows: !llm.rows) decode max_rows 4 {
    %h = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %g = llm.linear %h, @gate_proj : tensor<?x64xf32> -> tensor<?x96xf32>
    %u = llm.linear %h, @up_proj : tensor<?x64xf32> -> tensor<?x96xf32>
    %s = llm.activation %g silu : tensor<?x96xf32>
    // expected-remark@+1 {{norm_glu not fused: the input of @gate_proj is not a norm}}
    %m = llm.mul %s, %u : tensor<?x96xf32>
    %z = llm.linear %m, @down_proj : tensor<?x96xf32> -> tensor<?x64xf32>
    %l = llm.logits %z, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @one_bias_is_missing
// CHECK-NOT:   llm.norm_glu
// CHECK:       llm.mul
llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf16>
  llm.weight @norm norm "n" : tensor<64xf16>
  llm.weight @gate_proj matrix "gate" : tensor<96x64xf16>
  llm.weight @up_proj matrix "up" : tensor<96x64xf16>
  llm.weight @gate_bias bias "gb" : tensor<96xf16>
  llm.weight @up_bias bias "ub" : tensor<96xf16>
  llm.weight @down_proj matrix "down" : tensor<64x96xf16>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xf16>
  llm.entry @one_bias_is_missing(%rows: !llm.rows) decode max_rows 4 {
    %h = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %n = llm.rms_norm %h, @norm eps 1.0e-5 : tensor<?x64xf32>
    %g = llm.linear %n, @gate_proj : tensor<?x64xf32> -> tensor<?x96xf32>
    %u = llm.linear %n, @up_proj : tensor<?x64xf32> -> tensor<?x96xf32>
    %gb = llm.bias %g, @gate_bias : tensor<?x96xf32>
    %s = llm.activation %gb silu : tensor<?x96xf32>
    // expected-remark@+1 {{norm_glu not fused: one of the two projections has a bias and one has not}}
    %m = llm.mul %s, %u : tensor<?x96xf32>
    %z = llm.linear %m, @down_proj : tensor<?x96xf32> -> tensor<?x64xf32>
    %l = llm.logits %z, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @weights_of_two_types
// CHECK-NOT:   llm.norm_glu
// CHECK:       llm.mul
llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf16>
  llm.weight @norm norm "n" : tensor<64xf16>
  llm.weight @gate_proj matrix "gate" : tensor<96x64xf16>
  llm.weight @up_proj matrix "up" : tensor<96x64xbf16>
  llm.weight @down_proj matrix "down" : tensor<64x96xf16>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xf16>
  llm.entry @weights_of_two_types(%rows: !llm.rows) decode max_rows 4 {
    %h = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %n = llm.rms_norm %h, @norm eps 1.0e-5 : tensor<?x64xf32>
    %g = llm.linear %n, @gate_proj : tensor<?x64xf32> -> tensor<?x96xf32>
    %u = llm.linear %n, @up_proj : tensor<?x64xf32> -> tensor<?x96xf32>
    %s = llm.activation %g silu : tensor<?x96xf32>
    // expected-remark@+1 {{norm_glu not fused: @up_proj and @gate_proj have different types}}
    %m = llm.mul %s, %u : tensor<?x96xf32>
    %z = llm.linear %m, @down_proj : tensor<?x96xf32> -> tensor<?x64xf32>
    %l = llm.logits %z, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @a_product_without_activation
// CHECK:       %glu = llm.norm_glu %x norm @norm eps 1.000000e-05 proj @gate_proj, @up_proj none
// CHECK-NOT:   llm.mul
llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf16>
  llm.weight @norm norm "n" : tensor<64xf16>
  llm.weight @gate_proj matrix "gate" : tensor<96x64xf16>
  llm.weight @up_proj matrix "up" : tensor<96x64xf16>
  llm.weight @down_proj matrix "down" : tensor<64x96xf16>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xf16>
  llm.entry @a_product_without_activation(%rows: !llm.rows) decode max_rows 4 {
    %h = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %n = llm.rms_norm %h, @norm eps 1.0e-5 : tensor<?x64xf32>
    %g = llm.linear %n, @gate_proj : tensor<?x64xf32> -> tensor<?x96xf32>
    %u = llm.linear %n, @up_proj : tensor<?x64xf32> -> tensor<?x96xf32>
    // expected-remark@+1 {{norm_glu: fused @norm, @gate_proj, @up_proj, mul}}
    %m = llm.mul %g, %u : tensor<?x96xf32>
    %z = llm.linear %m, @down_proj : tensor<?x96xf32> -> tensor<?x64xf32>
    %l = llm.logits %z, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}
