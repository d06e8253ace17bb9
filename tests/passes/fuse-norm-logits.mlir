// RUN: llmc-opt %s --llm-fuse-norm-logits --split-input-file --verify-diagnostics | FileCheck %s

// CHECK-LABEL: llm.entry @fuses
// CHECK:       llm.norm_logits %{{.*}}, %{{.*}} norm @norm eps 1.000000e-05, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
// CHECK-NOT:   llm.rms_norm
llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.weight @o_proj matrix "o" : tensor<64x64xf32>
  llm.weight @o_bias bias "ob" : tensor<64xf32>
  llm.weight @norm norm "n" : tensor<64xf32>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xf32>
  llm.entry @fuses(%rows: !llm.rows) decode max_rows 4 {
    %h = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %n = llm.rms_norm %h, @norm eps 1.0e-5 : tensor<?x64xf32>
    // expected-remark@+1 {{norm_logits: fused @norm, @lm_head}}
    %l = llm.logits %n, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @norm_has_a_second_use
// CHECK-NOT:   llm.norm_logits
// CHECK:       llm.logits
llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.weight @o_proj matrix "o" : tensor<64x64xf32>
  llm.weight @o_bias bias "ob" : tensor<64xf32>
  llm.weight @norm norm "n" : tensor<64xf32>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xf32>
  llm.entry @norm_has_a_second_use(%rows: !llm.rows) decode max_rows 4 {
    %h = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %n = llm.rms_norm %h, @norm eps 1.0e-5 : tensor<?x64xf32>
    %n2 = llm.add %n, %h : tensor<?x64xf32>
    // expected-remark@+1 {{norm_logits not fused: @norm has another use}}
    %l = llm.logits %n, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @no_norm
// CHECK-NOT:   llm.norm_logits
// CHECK:       llm.logits
llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.weight @o_proj matrix "o" : tensor<64x64xf32>
  llm.weight @o_bias bias "ob" : tensor<64xf32>
  llm.weight @norm norm "n" : tensor<64xf32>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xf32>
  llm.entry @no_norm(%rows: !llm.rows) decode max_rows 4 {
    %h = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    // expected-remark@+1 {{norm_logits not fused: its input is not a norm}}
    %l = llm.logits %h, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}
