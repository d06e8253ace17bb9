// RUN: llmc-opt %s --llm-fuse-norm-linear --split-input-file --verify-diagnostics | FileCheck %s

// CHECK-LABEL: llm.entry @fuses
// CHECK: %up = llm.norm_linear %h norm @n shift @nb layer eps 1.000000e-05 proj @up_proj bias @up_bias gelu_tanh
// CHECK-NOT: llm.layer_norm
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
  llm.entry @fuses(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %n = llm.layer_norm %h weight @n bias @nb eps 1.0e-5 : tensor<?x64xf32>
      %u = llm.linear %n, @up_proj : tensor<?x64xf32> -> tensor<?x96xf32>
      %b = llm.bias %u, @up_bias : tensor<?x96xf32>
      // expected-remark@+1 {{norm_linear: fused @n, @up_proj, bias, activation}}
      %a = llm.activation %b gelu_tanh : tensor<?x96xf32>
      %d = llm.linear %a, @down_proj : tensor<?x96xf32> -> tensor<?x64xf32>
      llm.yield %d : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @the_norm_has_a_second_use
// CHECK-NOT: llm.norm_linear
// CHECK: llm.activation
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
  llm.entry @the_norm_has_a_second_use(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %n = llm.layer_norm %h weight @n bias @nb eps 1.0e-5 : tensor<?x64xf32>
      %u = llm.linear %n, @up_proj : tensor<?x64xf32> -> tensor<?x96xf32>
      %b = llm.bias %u, @up_bias : tensor<?x96xf32>
      // expected-remark@+1 {{norm_linear not fused: @n has another use}}
      %a = llm.activation %b gelu_tanh : tensor<?x96xf32>
      %d = llm.linear %a, @down_proj : tensor<?x96xf32> -> tensor<?x64xf32>
      %z = llm.add %d, %n : tensor<?x64xf32>
      llm.yield %z : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @no_norm
// CHECK-NOT: llm.norm_linear
// CHECK: llm.activation
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
  llm.entry @no_norm(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %u = llm.linear %h, @up_proj : tensor<?x64xf32> -> tensor<?x96xf32>
      // expected-remark@+1 {{norm_linear not fused: the input of @up_proj is not a norm}}
      %a = llm.activation %u gelu_tanh : tensor<?x96xf32>
      %d = llm.linear %a, @down_proj : tensor<?x96xf32> -> tensor<?x64xf32>
      llm.yield %d : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}
