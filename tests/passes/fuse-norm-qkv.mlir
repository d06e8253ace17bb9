// RUN: llmc-opt %s --llm-fuse-norm-qkv --split-input-file --verify-diagnostics | FileCheck %s

// CHECK-LABEL: llm.entry @fuses_with_rope
// CHECK:      %[[Q:.*]] = llm.norm_qkv %{{.*}}, %{{.*}}, @kv norm @norm eps 1.000000e-05 proj @q_proj, @k_proj, @v_proj rope @rope
// CHECK-NEXT: llm.attention %[[Q]]
// CHECK-NOT:  llm.kv_write
llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xbf16>
  llm.weight @norm norm "n.{layer}" : tensor<2x64xbf16>
  llm.weight @q_proj matrix "q.{layer}" : tensor<2x64x64xbf16>
  llm.weight @k_proj matrix "k.{layer}" : tensor<2x32x64xbf16>
  llm.weight @v_proj matrix "v.{layer}" : tensor<2x32x64xbf16>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xbf16>
  llm.rope_table @rope [1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125]
  llm.state @kv : !llm.kv<2x16xbf16> layers 0:2
  llm.entry @fuses_with_rope(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %n = llm.rms_norm %h, @norm eps 1.0e-5 : tensor<?x64xf32>
      %q = llm.linear %n, @q_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %k = llm.linear %n, @k_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %v = llm.linear %n, @v_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %qr = llm.rope %q, %rows, @rope head_dim 16 : tensor<?x64xf32>
      %kr = llm.rope %k, %rows, @rope head_dim 16 : tensor<?x32xf32>
      // expected-remark@+1 {{norm_qkv: fused @norm, @q_proj, @k_proj, @v_proj, rope, kv_write}}
      llm.kv_write %kr, %v, %rows, @kv : tensor<?x32xf32>, tensor<?x32xf32>
      %a = llm.attention %qr, %rows, @kv scale 0.25 : tensor<?x64xf32> -> tensor<?x64xf32>
      %z = llm.add %h, %a : tensor<?x64xf32>
      llm.yield %z : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @fuses_biases_without_rope
// CHECK:      llm.norm_qkv %{{.*}} proj @q_proj, @k_proj, @v_proj bias @q_bias, @k_bias, @v_bias :
llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xbf16>
  llm.weight @norm norm "n.{layer}" : tensor<2x64xbf16>
  llm.weight @q_proj matrix "q.{layer}" : tensor<2x64x64xbf16>
  llm.weight @k_proj matrix "k.{layer}" : tensor<2x32x64xbf16>
  llm.weight @v_proj matrix "v.{layer}" : tensor<2x32x64xbf16>
  llm.weight @q_bias bias "qb.{layer}" : tensor<2x64xf32>
  llm.weight @k_bias bias "kb.{layer}" : tensor<2x32xf32>
  llm.weight @v_bias bias "vb.{layer}" : tensor<2x32xf32>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xbf16>
  llm.rope_table @rope [1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125]
  llm.state @kv : !llm.kv<2x16xbf16> layers 0:2
  llm.entry @fuses_biases_without_rope(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %n = llm.rms_norm %h, @norm eps 1.0e-5 : tensor<?x64xf32>
      %q = llm.linear %n, @q_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %k = llm.linear %n, @k_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %v = llm.linear %n, @v_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %qb = llm.bias %q, @q_bias : tensor<?x64xf32>
      %kb = llm.bias %k, @k_bias : tensor<?x32xf32>
      %vb = llm.bias %v, @v_bias : tensor<?x32xf32>
      // expected-remark@+1 {{norm_qkv: fused @norm, @q_proj, @k_proj, @v_proj, biases, kv_write}}
      llm.kv_write %kb, %vb, %rows, @kv : tensor<?x32xf32>, tensor<?x32xf32>
      %a = llm.attention %qb, %rows, @kv scale 0.25 : tensor<?x64xf32> -> tensor<?x64xf32>
      %z = llm.add %h, %a : tensor<?x64xf32>
      llm.yield %z : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @k_has_a_second_use
// CHECK-NOT:   llm.norm_qkv
// CHECK:       llm.kv_write
llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xbf16>
  llm.weight @norm norm "n.{layer}" : tensor<2x64xbf16>
  llm.weight @q_proj matrix "q.{layer}" : tensor<2x64x64xbf16>
  llm.weight @k_proj matrix "k.{layer}" : tensor<2x32x64xbf16>
  llm.weight @v_proj matrix "v.{layer}" : tensor<2x32x64xbf16>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xbf16>
  llm.rope_table @rope [1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125]
  llm.state @kv : !llm.kv<2x16xbf16> layers 0:2
  llm.entry @k_has_a_second_use(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %n = llm.rms_norm %h, @norm eps 1.0e-5 : tensor<?x64xf32>
      %q = llm.linear %n, @q_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %k = llm.linear %n, @k_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %v = llm.linear %n, @v_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      // expected-remark@+1 {{norm_qkv not fused: @k_proj has another use}}
      llm.kv_write %k, %v, %rows, @kv : tensor<?x32xf32>, tensor<?x32xf32>
      %a = llm.attention %q, %rows, @kv scale 0.25 : tensor<?x64xf32> -> tensor<?x64xf32>
      %k2 = llm.mul %k, %k : tensor<?x32xf32>
      llm.kv_write %k2, %k2, %rows, @kv : tensor<?x32xf32>, tensor<?x32xf32> // expected-remark {{norm_qkv not fused: an operand is not a linear}}
      %z = llm.add %h, %a : tensor<?x64xf32>
      llm.yield %z : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @norm_has_a_second_use
// CHECK-NOT:   llm.norm_qkv
// CHECK:       llm.kv_write
llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xbf16>
  llm.weight @norm norm "n.{layer}" : tensor<2x64xbf16>
  llm.weight @q_proj matrix "q.{layer}" : tensor<2x64x64xbf16>
  llm.weight @k_proj matrix "k.{layer}" : tensor<2x32x64xbf16>
  llm.weight @v_proj matrix "v.{layer}" : tensor<2x32x64xbf16>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xbf16>
  llm.rope_table @rope [1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125]
  llm.state @kv : !llm.kv<2x16xbf16> layers 0:2
  llm.entry @norm_has_a_second_use(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %n = llm.rms_norm %h, @norm eps 1.0e-5 : tensor<?x64xf32>
      %q = llm.linear %n, @q_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %k = llm.linear %n, @k_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %v = llm.linear %n, @v_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      // expected-remark@+1 {{norm_qkv not fused: @norm has another use}}
      llm.kv_write %k, %v, %rows, @kv : tensor<?x32xf32>, tensor<?x32xf32>
      %a = llm.attention %q, %rows, @kv scale 0.25 : tensor<?x64xf32> -> tensor<?x64xf32>
      %z = llm.add %n, %a : tensor<?x64xf32>
      llm.yield %z : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @attention_before_kv_write
// CHECK-NOT:   llm.norm_qkv
// CHECK:       llm.attention
// CHECK:       llm.kv_write
llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xbf16>
  llm.weight @norm norm "n.{layer}" : tensor<2x64xbf16>
  llm.weight @q_proj matrix "q.{layer}" : tensor<2x64x64xbf16>
  llm.weight @k_proj matrix "k.{layer}" : tensor<2x32x64xbf16>
  llm.weight @v_proj matrix "v.{layer}" : tensor<2x32x64xbf16>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xbf16>
  llm.rope_table @rope [1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125]
  llm.state @kv : !llm.kv<2x16xbf16> layers 0:2
  llm.entry @attention_before_kv_write(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %n = llm.rms_norm %h, @norm eps 1.0e-5 : tensor<?x64xf32>
      %q = llm.linear %n, @q_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %k = llm.linear %n, @k_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %v = llm.linear %n, @v_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %a = llm.attention %q, %rows, @kv scale 0.25 : tensor<?x64xf32> -> tensor<?x64xf32>
      // expected-remark@+1 {{norm_qkv not fused: @q_proj is used before kv_write}}
      llm.kv_write %k, %v, %rows, @kv : tensor<?x32xf32>, tensor<?x32xf32>
      %z = llm.add %h, %a : tensor<?x64xf32>
      llm.yield %z : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @rope_on_q_alone
// CHECK-NOT:   llm.norm_qkv
// CHECK:       llm.kv_write
llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xbf16>
  llm.weight @norm norm "n.{layer}" : tensor<2x64xbf16>
  llm.weight @q_proj matrix "q.{layer}" : tensor<2x64x64xbf16>
  llm.weight @k_proj matrix "k.{layer}" : tensor<2x32x64xbf16>
  llm.weight @v_proj matrix "v.{layer}" : tensor<2x32x64xbf16>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xbf16>
  llm.rope_table @rope [1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125]
  llm.state @kv : !llm.kv<2x16xbf16> layers 0:2
  llm.entry @rope_on_q_alone(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %n = llm.rms_norm %h, @norm eps 1.0e-5 : tensor<?x64xf32>
      %q = llm.linear %n, @q_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %k = llm.linear %n, @k_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %v = llm.linear %n, @v_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %qr = llm.rope %q, %rows, @rope head_dim 16 : tensor<?x64xf32>
      // expected-remark@+1 {{norm_qkv not fused: rope on @q_proj but not on @k_proj}}
      llm.kv_write %k, %v, %rows, @kv : tensor<?x32xf32>, tensor<?x32xf32>
      %a = llm.attention %qr, %rows, @kv scale 0.25 : tensor<?x64xf32> -> tensor<?x64xf32>
      %z = llm.add %h, %a : tensor<?x64xf32>
      llm.yield %z : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @one_bias_is_missing
// CHECK-NOT:   llm.norm_qkv
// CHECK:       llm.kv_write
llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xbf16>
  llm.weight @norm norm "n.{layer}" : tensor<2x64xbf16>
  llm.weight @q_proj matrix "q.{layer}" : tensor<2x64x64xbf16>
  llm.weight @k_proj matrix "k.{layer}" : tensor<2x32x64xbf16>
  llm.weight @v_proj matrix "v.{layer}" : tensor<2x32x64xbf16>
  llm.weight @q_bias bias "qb.{layer}" : tensor<2x64xf32>
  llm.weight @k_bias bias "kb.{layer}" : tensor<2x32xf32>
  llm.weight @v_bias bias "vb.{layer}" : tensor<2x32xf32>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xbf16>
  llm.rope_table @rope [1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125]
  llm.state @kv : !llm.kv<2x16xbf16> layers 0:2
  llm.entry @one_bias_is_missing(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %n = llm.rms_norm %h, @norm eps 1.0e-5 : tensor<?x64xf32>
      %q = llm.linear %n, @q_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %k = llm.linear %n, @k_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %v = llm.linear %n, @v_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %kb = llm.bias %k, @k_bias : tensor<?x32xf32>
      %vb = llm.bias %v, @v_bias : tensor<?x32xf32>
      // expected-remark@+1 {{norm_qkv not fused: some of the three projections have a bias and some have not}}
      llm.kv_write %kb, %vb, %rows, @kv : tensor<?x32xf32>, tensor<?x32xf32>
      %a = llm.attention %q, %rows, @kv scale 0.25 : tensor<?x64xf32> -> tensor<?x64xf32>
      %z = llm.add %h, %a : tensor<?x64xf32>
      llm.yield %z : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @weights_of_two_types
// CHECK-NOT:   llm.norm_qkv
// CHECK:       llm.kv_write
llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xbf16>
  llm.weight @norm norm "n.{layer}" : tensor<2x64xbf16>
  llm.weight @q_proj matrix "q.{layer}" : tensor<2x64x64xbf16>
  llm.weight @k_proj matrix "k.{layer}" : tensor<2x32x64xf16>
  llm.weight @v_proj matrix "v.{layer}" : tensor<2x32x64xbf16>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xbf16>
  llm.rope_table @rope [1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125]
  llm.state @kv : !llm.kv<2x16xbf16> layers 0:2
  llm.entry @weights_of_two_types(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %n = llm.rms_norm %h, @norm eps 1.0e-5 : tensor<?x64xf32>
      %q = llm.linear %n, @q_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %k = llm.linear %n, @k_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %v = llm.linear %n, @v_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      // expected-remark@+1 {{norm_qkv not fused: @k_proj and @q_proj have different types}}
      llm.kv_write %k, %v, %rows, @kv : tensor<?x32xf32>, tensor<?x32xf32>
      %a = llm.attention %q, %rows, @kv scale 0.25 : tensor<?x64xf32> -> tensor<?x64xf32>
      %z = llm.add %h, %a : tensor<?x64xf32>
      llm.yield %z : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @quants_of_two_types
// CHECK:       llm.norm_qkv %{{.*}} proj @q_proj, @k_proj, @v_proj
// CHECK-NOT:   llm.kv_write
llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xbf16>
  llm.weight @norm norm "n.{layer}" : tensor<2x64xbf16>
  llm.weight @q_proj matrix "q.{layer}" : tensor<2x64x64x!llm.q<q4_0>>
  llm.weight @k_proj matrix "k.{layer}" : tensor<2x32x64x!llm.q<q4_0>>
  llm.weight @v_proj matrix "v.{layer}" : tensor<2x32x64xbf16>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xbf16>
  llm.rope_table @rope [1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125]
  llm.state @kv : !llm.kv<2x16xbf16> layers 0:2
  llm.entry @quants_of_two_types(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %n = llm.rms_norm %h, @norm eps 1.0e-5 : tensor<?x64xf32>
      %q = llm.linear %n, @q_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %k = llm.linear %n, @k_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %v = llm.linear %n, @v_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      // expected-remark@+1 {{norm_qkv: fused @norm, @q_proj, @k_proj, @v_proj, kv_write}}
      llm.kv_write %k, %v, %rows, @kv : tensor<?x32xf32>, tensor<?x32xf32>
      %a = llm.attention %q, %rows, @kv scale 0.25 : tensor<?x64xf32> -> tensor<?x64xf32>
      %z = llm.add %h, %a : tensor<?x64xf32>
      llm.yield %z : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @q_has_another_norm
// CHECK-NOT:   llm.norm_qkv
// CHECK:       llm.kv_write
llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xbf16>
  llm.weight @norm norm "n.{layer}" : tensor<2x64xbf16>
  llm.weight @q_proj matrix "q.{layer}" : tensor<2x64x64xbf16>
  llm.weight @k_proj matrix "k.{layer}" : tensor<2x32x64xbf16>
  llm.weight @v_proj matrix "v.{layer}" : tensor<2x32x64xbf16>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xbf16>
  llm.rope_table @rope [1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125]
  llm.state @kv : !llm.kv<2x16xbf16> layers 0:2
  llm.entry @q_has_another_norm(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %n = llm.rms_norm %h, @norm eps 1.0e-5 : tensor<?x64xf32>
      %n2 = llm.rms_norm %h, @norm eps 1.0e-6 : tensor<?x64xf32>
      %q = llm.linear %n2, @q_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %k = llm.linear %n, @k_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %v = llm.linear %n, @v_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      // expected-remark@+1 {{norm_qkv not fused: no query projection of @norm}}
      llm.kv_write %k, %v, %rows, @kv : tensor<?x32xf32>, tensor<?x32xf32>
      %a = llm.attention %q, %rows, @kv scale 0.25 : tensor<?x64xf32> -> tensor<?x64xf32>
      %z = llm.add %h, %a : tensor<?x64xf32>
      llm.yield %z : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @each_layer_keeps_its_state
// CHECK:      llm.norm_qkv %h, %rows, @kv_window8 norm
// CHECK-NEXT: llm.attention %q, %rows, @kv_window8 scale
// CHECK:      llm.norm_qkv %h, %rows, @kv norm
// CHECK-NEXT: llm.attention %q, %rows, @kv scale
llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xbf16>
  llm.weight @norm norm "n.{layer}" : tensor<2x64xbf16>
  llm.weight @q_proj matrix "q.{layer}" : tensor<2x64x64xbf16>
  llm.weight @k_proj matrix "k.{layer}" : tensor<2x32x64xbf16>
  llm.weight @v_proj matrix "v.{layer}" : tensor<2x32x64xbf16>
  llm.state @kv_window8 : !llm.kv<2x16xbf16> window 8 layers 0:1
  llm.state @kv : !llm.kv<2x16xbf16> layers 1:2
  llm.entry @each_layer_keeps_its_state(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %w = llm.layers %h = %x first 0 count 1 : tensor<?x64xf32> {
      %n = llm.rms_norm %h, @norm eps 1.0e-5 : tensor<?x64xf32>
      %q = llm.linear %n, @q_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %k = llm.linear %n, @k_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %v = llm.linear %n, @v_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      // expected-remark@+1 {{norm_qkv: fused @norm, @q_proj, @k_proj, @v_proj, kv_write}}
      llm.kv_write %k, %v, %rows, @kv_window8 : tensor<?x32xf32>, tensor<?x32xf32>
      %a = llm.attention %q, %rows, @kv_window8 scale 0.25 : tensor<?x64xf32> -> tensor<?x64xf32>
      %z = llm.add %h, %a : tensor<?x64xf32>
      llm.yield %z : tensor<?x64xf32>
    }
    %y = llm.layers %h = %w first 1 count 1 : tensor<?x64xf32> {
      %n = llm.rms_norm %h, @norm eps 1.0e-5 : tensor<?x64xf32>
      %q = llm.linear %n, @q_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %k = llm.linear %n, @k_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %v = llm.linear %n, @v_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      // expected-remark@+1 {{norm_qkv: fused @norm, @q_proj, @k_proj, @v_proj, kv_write}}
      llm.kv_write %k, %v, %rows, @kv : tensor<?x32xf32>, tensor<?x32xf32>
      %a = llm.attention %q, %rows, @kv scale 0.25 : tensor<?x64xf32> -> tensor<?x64xf32>
      %z = llm.add %h, %a : tensor<?x64xf32>
      llm.yield %z : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}
