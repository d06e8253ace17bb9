// RUN: llmc-opt %s --llm-fuse-norm-residual --split-input-file --verify-diagnostics | FileCheck %s

// CHECK-LABEL: llm.entry @fuses_on_either_side
// CHECK: [[R:%.*]] = llm.norm_residual %o, %h norm @n eps 1.000000e-05
// CHECK: llm.norm_residual %{{.*}}, [[R]] norm @n eps 1.000000e-05
// CHECK-NOT: llm.rms_norm
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
  llm.entry @fuses_on_either_side(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %o = llm.linear %h, @o_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %n = llm.rms_norm %o, @n eps 1.0e-5 : tensor<?x64xf32>
      // expected-remark@+1 {{norm_residual: fused @n, add}}
      %r = llm.add %h, %n : tensor<?x64xf32>
      %p = llm.linear %r, @o_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %m = llm.rms_norm %p, @n eps 1.0e-5 : tensor<?x64xf32>
      // expected-remark@+1 {{norm_residual: fused @n, add}}
      %z = llm.add %m, %r : tensor<?x64xf32>
      llm.yield %z : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @the_norm_has_a_second_use
// CHECK-NOT: llm.norm_residual
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
      %n = llm.rms_norm %h, @n eps 1.0e-5 : tensor<?x64xf32>
      // expected-remark@+1 {{norm_residual not fused: @n has another use}}
      %r = llm.add %h, %n : tensor<?x64xf32>
      %z = llm.mul %r, %n : tensor<?x64xf32>
      llm.yield %z : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @a_number_of_the_layer
// CHECK: llm.norm_residual %o, %h norm @n eps 1.000000e-05 scale @s
// CHECK-NOT: llm.scale_by
llm.model @m architecture "x" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.weight @n norm "{layer}.n" : tensor<2x64xf32>
  llm.weight @s norm "{layer}.s" : tensor<2x1xf32>
  llm.weight @o_proj matrix "{layer}.o" : tensor<2x64x64xf32>
  llm.entry @a_number_of_the_layer(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %o = llm.linear %h, @o_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %n = llm.rms_norm %o, @n eps 1.0e-5 : tensor<?x64xf32>
      // expected-remark@+1 {{norm_residual: fused @n, add}}
      %r = llm.add %h, %n : tensor<?x64xf32>
      // expected-remark@+1 {{norm_residual: fused @n, add, @s}}
      %z = llm.scale_by %r, @s : tensor<?x64xf32>
      llm.yield %z : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @the_sum_has_a_second_use
// CHECK: llm.norm_residual %o, %h norm @n eps 1.000000e-05 : 
// CHECK: llm.scale_by
llm.model @m architecture "x" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.weight @n norm "{layer}.n" : tensor<2x64xf32>
  llm.weight @s norm "{layer}.s" : tensor<2x1xf32>
  llm.weight @o_proj matrix "{layer}.o" : tensor<2x64x64xf32>
  llm.entry @the_sum_has_a_second_use(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %o = llm.linear %h, @o_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %n = llm.rms_norm %o, @n eps 1.0e-5 : tensor<?x64xf32>
      // expected-remark@+1 {{norm_residual: fused @n, add}}
      %r = llm.add %h, %n : tensor<?x64xf32>
      // expected-remark@+1 {{norm_residual not fused: what is scaled has another use}}
      %s = llm.scale_by %r, @s : tensor<?x64xf32>
      %z = llm.mul %s, %r : tensor<?x64xf32>
      llm.yield %z : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}
