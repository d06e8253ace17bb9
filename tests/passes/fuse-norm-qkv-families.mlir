// qk_norm, layer_norm, partial rotary embeddings and layers without any.
// RUN: llmc-opt %s --llm-fuse-norm-qkv --split-input-file --verify-diagnostics | FileCheck %s

// CHECK-LABEL: llm.entry @qk_norm_and_partial_rope
// CHECK: %q = llm.norm_qkv %h, %rows, @kv norm @n layer eps 1.000000e-05 proj @q_proj, @k_proj, @v_proj qk_norm @head, @head eps 1.000000e-05 rope @rope
// CHECK-NOT: llm.qk_norm
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
  llm.state @kv : !llm.kv<2x16xf32> layers 0:2
  llm.entry @qk_norm_and_partial_rope(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %n = llm.layer_norm %h weight @n eps 1.0e-5 : tensor<?x64xf32>
      %q0 = llm.linear %n, @q_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %k0 = llm.linear %n, @k_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %v0 = llm.linear %n, @v_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %q1 = llm.qk_norm %q0, @head eps 1.0e-5 head_dim 16 : tensor<?x64xf32>
      %k1 = llm.qk_norm %k0, @head eps 1.0e-5 head_dim 16 : tensor<?x32xf32>
      %q2 = llm.rope %q1, %rows, @rope head_dim 16 : tensor<?x64xf32>
      %k2 = llm.rope %k1, %rows, @rope head_dim 16 : tensor<?x32xf32>
      // expected-remark@+1 {{norm_qkv: fused @n, @q_proj, @k_proj, @v_proj, qk_norm, rope, kv_write}}
      llm.kv_write %k2, %v0, %rows, @kv : tensor<?x32xf32>, tensor<?x32xf32>
      %a = llm.attention %q2, %rows, @kv scale 0.25 : tensor<?x64xf32> -> tensor<?x64xf32>
      llm.yield %a : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @positions_are_not_encoded
// CHECK: llm.norm_qkv %h, %rows, @kv norm @n layer eps 1.000000e-05 proj @q_proj, @k_proj, @v_proj : 
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
  llm.state @kv : !llm.kv<2x16xf32> layers 0:2
  llm.entry @positions_are_not_encoded(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %n = llm.layer_norm %h weight @n eps 1.0e-5 : tensor<?x64xf32>
      %q0 = llm.linear %n, @q_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %k0 = llm.linear %n, @k_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %v0 = llm.linear %n, @v_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      // expected-remark@+1 {{norm_qkv: fused @n, @q_proj, @k_proj, @v_proj, kv_write}}
      llm.kv_write %k0, %v0, %rows, @kv : tensor<?x32xf32>, tensor<?x32xf32>
      %a = llm.attention %q0, %rows, @kv scale 0.25 : tensor<?x64xf32> -> tensor<?x64xf32>
      llm.yield %a : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @a_norm_on_k_alone
// CHECK-NOT: llm.norm_qkv
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
  llm.state @kv : !llm.kv<2x16xf32> layers 0:2
  llm.entry @a_norm_on_k_alone(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %n = llm.layer_norm %h weight @n eps 1.0e-5 : tensor<?x64xf32>
      %q0 = llm.linear %n, @q_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %k0 = llm.linear %n, @k_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %v0 = llm.linear %n, @v_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %k1 = llm.qk_norm %k0, @head eps 1.0e-5 head_dim 16 : tensor<?x32xf32>
      %q2 = llm.rope %q0, %rows, @rope head_dim 16 : tensor<?x64xf32>
      %k2 = llm.rope %k1, %rows, @rope head_dim 16 : tensor<?x32xf32>
      // expected-remark@+1 {{norm_qkv not fused: qk_norm on one of @q_proj and @k_proj}}
      llm.kv_write %k2, %v0, %rows, @kv : tensor<?x32xf32>, tensor<?x32xf32>
      %a = llm.attention %q2, %rows, @kv scale 0.25 : tensor<?x64xf32> -> tensor<?x64xf32>
      llm.yield %a : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @heads_with_norms_of_their_own
// CHECK-NOT: llm.norm_qkv
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
  llm.state @kv : !llm.kv<2x16xf32> layers 0:2
  llm.entry @heads_with_norms_of_their_own(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %n = llm.layer_norm %h weight @n eps 1.0e-5 : tensor<?x64xf32>
      %q0 = llm.linear %n, @q_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %k0 = llm.linear %n, @k_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %v0 = llm.linear %n, @v_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %q1 = llm.qk_norm %q0, @head eps 1.0e-5 head_dim 16 : tensor<?x64xf32>
      %k1 = llm.qk_norm %k0, @wide eps 1.0e-5 head_dim 16 : tensor<?x32xf32>
      %q2 = llm.rope %q1, %rows, @rope head_dim 16 : tensor<?x64xf32>
      %k2 = llm.rope %k1, %rows, @rope head_dim 16 : tensor<?x32xf32>
      // expected-remark@+1 {{norm_qkv not fused: @wide is no rms_norm that all heads of 16 share}}
      llm.kv_write %k2, %v0, %rows, @kv : tensor<?x32xf32>, tensor<?x32xf32>
      %a = llm.attention %q2, %rows, @kv scale 0.25 : tensor<?x64xf32> -> tensor<?x64xf32>
      llm.yield %a : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @a_norm_without_weights
// CHECK-NOT: llm.norm_qkv
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
  llm.state @kv : !llm.kv<2x16xf32> layers 0:2
  llm.entry @a_norm_without_weights(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %n = llm.layer_norm %h eps 1.0e-5 : tensor<?x64xf32>
      %q0 = llm.linear %n, @q_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %k0 = llm.linear %n, @k_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %v0 = llm.linear %n, @v_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %q2 = llm.rope %q0, %rows, @rope head_dim 16 : tensor<?x64xf32>
      %k2 = llm.rope %k0, %rows, @rope head_dim 16 : tensor<?x32xf32>
      // expected-remark@+1 {{norm_qkv not fused: the input of @k_proj is not a norm}}
      llm.kv_write %k2, %v0, %rows, @kv : tensor<?x32xf32>, tensor<?x32xf32>
      %a = llm.attention %q2, %rows, @kv scale 0.25 : tensor<?x64xf32> -> tensor<?x64xf32>
      llm.yield %a : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @values_have_a_norm
// CHECK: llm.norm_qkv %h, %rows, @kv norm @n eps 1.000000e-05 proj @q_proj, @k_proj, @v_proj qk_norm @head, @head eps 1.000000e-05 v_norm rope @rope
// CHECK-NOT: llm.linear
llm.model @m architecture "x" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.weight @n norm "{layer}.n" : tensor<2x64xf32>
  llm.weight @head norm "{layer}.head" : tensor<2x16xf32>
  llm.weight @q_proj matrix "{layer}.q" : tensor<2x64x64xf32>
  llm.weight @k_proj matrix "{layer}.k" : tensor<2x32x64xf32>
  llm.weight @v_proj matrix "{layer}.v" : tensor<2x32x64xf32>
  llm.rope_table @rope [1.0, 0.5, 0.25, 0.125]
  llm.state @kv : !llm.kv<2x16xf32> layers 0:2
  llm.entry @values_have_a_norm(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %n = llm.rms_norm %h, @n eps 1.0e-5 : tensor<?x64xf32>
      %q0 = llm.linear %n, @q_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %q1 = llm.qk_norm %q0, @head eps 1.0e-5 head_dim 16 : tensor<?x64xf32>
      %q = llm.rope %q1, %rows, @rope head_dim 16 : tensor<?x64xf32>
      %k0 = llm.linear %n, @k_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %k1 = llm.qk_norm %k0, @head eps 1.0e-5 head_dim 16 : tensor<?x32xf32>
      %k = llm.rope %k1, %rows, @rope head_dim 16 : tensor<?x32xf32>
      %v0 = llm.linear %n, @v_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %v = llm.qk_norm %v0 eps 1.0e-5 head_dim 16 : tensor<?x32xf32>
      // expected-remark@+1 {{norm_qkv: fused @n, @q_proj, @k_proj, @v_proj, qk_norm, v_norm, rope, kv_write}}
      llm.kv_write %k, %v, %rows, @kv : tensor<?x32xf32>, tensor<?x32xf32>
      %a = llm.attention %q, %rows, @kv scale 0.25 : tensor<?x64xf32> -> tensor<?x64xf32>
      llm.yield %a : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @values_are_keys
// CHECK: llm.norm_qkv %h, %rows, @kv norm @n eps 1.000000e-05 proj @q_proj, @k_proj qk_norm @head, @head eps 1.000000e-05 v_norm rope @rope
// CHECK-NOT: llm.linear
llm.model @m architecture "x" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.weight @n norm "{layer}.n" : tensor<2x64xf32>
  llm.weight @head norm "{layer}.head" : tensor<2x16xf32>
  llm.weight @q_proj matrix "{layer}.q" : tensor<2x64x64xf32>
  llm.weight @k_proj matrix "{layer}.k" : tensor<2x32x64xf32>
  llm.rope_table @rope [1.0, 0.5, 0.25, 0.125]
  llm.state @kv : !llm.kv<2x16xf32> layers 0:2
  llm.entry @values_are_keys(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %n = llm.rms_norm %h, @n eps 1.0e-5 : tensor<?x64xf32>
      %q0 = llm.linear %n, @q_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %q1 = llm.qk_norm %q0, @head eps 1.0e-5 head_dim 16 : tensor<?x64xf32>
      %q = llm.rope %q1, %rows, @rope head_dim 16 : tensor<?x64xf32>
      %k0 = llm.linear %n, @k_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %k1 = llm.qk_norm %k0, @head eps 1.0e-5 head_dim 16 : tensor<?x32xf32>
      %k = llm.rope %k1, %rows, @rope head_dim 16 : tensor<?x32xf32>
      %v = llm.qk_norm %k0 eps 1.0e-5 head_dim 16 : tensor<?x32xf32>
      // expected-remark@+1 {{norm_qkv: fused @n, @q_proj, @k_proj, qk_norm, v_norm, rope, kv_write}}
      llm.kv_write %k, %v, %rows, @kv : tensor<?x32xf32>, tensor<?x32xf32>
      %a = llm.attention %q, %rows, @kv scale 0.25 : tensor<?x64xf32> -> tensor<?x64xf32>
      llm.yield %a : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @the_norm_of_values_differs
// CHECK-NOT: llm.norm_qkv
llm.model @m architecture "x" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.weight @n norm "{layer}.n" : tensor<2x64xf32>
  llm.weight @head norm "{layer}.head" : tensor<2x16xf32>
  llm.weight @q_proj matrix "{layer}.q" : tensor<2x64x64xf32>
  llm.weight @k_proj matrix "{layer}.k" : tensor<2x32x64xf32>
  llm.rope_table @rope [1.0, 0.5, 0.25, 0.125]
  llm.state @kv : !llm.kv<2x16xf32> layers 0:2
  llm.entry @the_norm_of_values_differs(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %n = llm.rms_norm %h, @n eps 1.0e-5 : tensor<?x64xf32>
      %q0 = llm.linear %n, @q_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %q1 = llm.qk_norm %q0, @head eps 1.0e-5 head_dim 16 : tensor<?x64xf32>
      %q = llm.rope %q1, %rows, @rope head_dim 16 : tensor<?x64xf32>
      %k0 = llm.linear %n, @k_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %k1 = llm.qk_norm %k0, @head eps 1.0e-5 head_dim 16 : tensor<?x32xf32>
      %k = llm.rope %k1, %rows, @rope head_dim 16 : tensor<?x32xf32>
      %v = llm.qk_norm %k0 eps 1.0e-6 head_dim 16 : tensor<?x32xf32>
      // expected-remark@+1 {{norm_qkv not fused: q, k and v have different qk_norms}}
      llm.kv_write %k, %v, %rows, @kv : tensor<?x32xf32>, tensor<?x32xf32>
      %a = llm.attention %q, %rows, @kv scale 0.25 : tensor<?x64xf32> -> tensor<?x64xf32>
      llm.yield %a : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @keys_of_a_layer_before
// CHECK: llm.norm_qkv {{.*}} proj @q_proj, @k_proj
// CHECK: llm.norm_qkv %h, %rows, @kv norm @n eps 1.000000e-05 proj @q_proj_1 qk_norm @head eps 1.000000e-05 rope @rope
// CHECK-NOT: llm.linear
llm.model @m architecture "x" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.weight @n norm "{layer}.n" : tensor<2x64xf32>
  llm.weight @head norm "{layer}.head" : tensor<2x16xf32>
  llm.weight @q_proj matrix "{layer}.q" : tensor<1x64x64xf32>
  llm.weight @q_proj_1 matrix "{layer}.q" first_layer 1 : tensor<1x64x64xf32>
  llm.weight @k_proj matrix "{layer}.k" : tensor<1x32x64xf32>
  llm.rope_table @rope [1.0, 0.5, 0.25, 0.125]
  llm.state @kv : !llm.kv<2x16xf32> layers 0:1
  llm.entry @keys_of_a_layer_before(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %z = llm.layers %h = %x first 0 count 1 : tensor<?x64xf32> {
      %n = llm.rms_norm %h, @n eps 1.0e-5 : tensor<?x64xf32>
      %q0 = llm.linear %n, @q_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %q1 = llm.qk_norm %q0, @head eps 1.0e-5 head_dim 16 : tensor<?x64xf32>
      %q = llm.rope %q1, %rows, @rope head_dim 16 : tensor<?x64xf32>
      %k0 = llm.linear %n, @k_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %k1 = llm.qk_norm %k0, @head eps 1.0e-5 head_dim 16 : tensor<?x32xf32>
      %k = llm.rope %k1, %rows, @rope head_dim 16 : tensor<?x32xf32>
      %v = llm.qk_norm %k0 eps 1.0e-5 head_dim 16 : tensor<?x32xf32>
      // expected-remark@+1 {{norm_qkv: fused @n, @q_proj, @k_proj, qk_norm, v_norm, rope, kv_write}}
      llm.kv_write %k, %v, %rows, @kv : tensor<?x32xf32>, tensor<?x32xf32>
      %a = llm.attention %q, %rows, @kv scale 0.25 : tensor<?x64xf32> -> tensor<?x64xf32>
      llm.yield %a : tensor<?x64xf32>
    }
    %y = llm.layers %h = %z first 1 count 1 : tensor<?x64xf32> {
      %n = llm.rms_norm %h, @n eps 1.0e-5 : tensor<?x64xf32>
      %q0 = llm.linear %n, @q_proj_1 : tensor<?x64xf32> -> tensor<?x64xf32>
      %q1 = llm.qk_norm %q0, @head eps 1.0e-5 head_dim 16 : tensor<?x64xf32>
      %q = llm.rope %q1, %rows, @rope head_dim 16 : tensor<?x64xf32>
      // expected-remark@-3 {{norm_qkv: fused @n, @q_proj_1, qk_norm, rope}}
      %a = llm.attention %q, %rows, @kv scale 0.25 : tensor<?x64xf32> -> tensor<?x64xf32>
      llm.yield %a : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}
