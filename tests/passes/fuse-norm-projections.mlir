// RUN: llmc-opt %s --llm-fuse-norm-qkv --llm-fuse-norm-glu --llm-fuse-norm-projections --llm-fuse-norm-linear --split-input-file --verify-diagnostics | FileCheck %s

// A state space layer: its three projections and the gate's activation are one op.
// CHECK-LABEL: llm.entry @state_space
// CHECK-NOT: llm.rms_norm
// CHECK: %in_proj_z, %in_proj_xbc, %in_proj_dt = llm.norm_projections %h norm @n eps 1.000000e-05 proj [#llm.projection<@in_proj_z act silu>, #llm.projection<@in_proj_xbc bias @xbc_bias>, #llm.projection<@in_proj_dt>]
// CHECK: llm.causal_conv %in_proj_xbc
// CHECK: llm.ssd %{{.*}}, %in_proj_dt, %rows{{.*}} times %in_proj_z
llm.model @m architecture "x" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.weight @n norm "{layer}.n" : tensor<2x64xf32>
  llm.weight @in_proj_z matrix "{layer}.z" : tensor<2x32x64xf32>
  llm.weight @in_proj_xbc matrix "{layer}.xbc" : tensor<2x48x64xf32>
  llm.weight @xbc_bias bias "{layer}.xbc_bias" : tensor<2x48xf32>
  llm.weight @in_proj_dt matrix "{layer}.dt" : tensor<2x4x64xf32>
  llm.weight @conv1d matrix "{layer}.conv1d" : tensor<2x4x48xf32>
  llm.weight @heads bias "{layer}.a" : tensor<2x4xf32>
  llm.weight @out_proj matrix "{layer}.out" : tensor<2x64x32xf32>
  llm.state @conv : !llm.recurrent<3x48xf32> layers 0:2
  llm.state @ssm : !llm.recurrent<4x8x8xf32> layers 0:2
  llm.entry @state_space(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      // expected-remark@+1 {{norm_projections: fused @n, @in_proj_z, activation, @in_proj_xbc, bias, @in_proj_dt}}
      %n = llm.rms_norm %h, @n eps 1.0e-5 : tensor<?x64xf32>
      %z = llm.linear %n, @in_proj_z : tensor<?x64xf32> -> tensor<?x32xf32>
      %g = llm.activation %z silu : tensor<?x32xf32>
      %xbc = llm.linear %n, @in_proj_xbc : tensor<?x64xf32> -> tensor<?x48xf32>
      %b = llm.bias %xbc, @xbc_bias : tensor<?x48xf32>
      %dt = llm.linear %n, @in_proj_dt : tensor<?x64xf32> -> tensor<?x4xf32>
      %c = llm.causal_conv %b, %rows, @conv, @conv1d silu : tensor<?x48xf32>
      %s = llm.ssd %c, %dt, %rows, @ssm, @heads, @heads, @heads times %g : tensor<?x48xf32>, tensor<?x4xf32>, tensor<?x32xf32> -> tensor<?x32xf32>
      %o = llm.linear %s, @out_proj : tensor<?x32xf32> -> tensor<?x64xf32>
      llm.yield %o : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// Gated attention: the gate is made where it is applied, with a norm of its own.
// CHECK-LABEL: llm.entry @gated_attention
// CHECK-NOT: llm.rms_norm
// CHECK: %q = llm.norm_qkv %h, %rows, @kv norm @n
// CHECK-NEXT: %attention = llm.attention %q
// CHECK-NEXT: %output_gate = llm.norm_linear %h norm @n eps 1.000000e-05 proj @output_gate sigmoid times %attention
// CHECK-NEXT: llm.linear %output_gate, @o_proj
llm.model @m architecture "x" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.weight @n norm "{layer}.n" : tensor<2x64xf32>
  llm.weight @q_proj matrix "{layer}.q" : tensor<2x64x64xf32>
  llm.weight @k_proj matrix "{layer}.k" : tensor<2x32x64xf32>
  llm.weight @v_proj matrix "{layer}.v" : tensor<2x32x64xf32>
  llm.weight @output_gate matrix "{layer}.g" : tensor<2x64x64xf32>
  llm.weight @o_proj matrix "{layer}.o" : tensor<2x64x64xf32>
  llm.state @kv : !llm.kv<2x16xf32> layers 0:2
  llm.entry @gated_attention(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %n = llm.rms_norm %h, @n eps 1.0e-5 : tensor<?x64xf32>
      %q = llm.linear %n, @q_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %k = llm.linear %n, @k_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %v = llm.linear %n, @v_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      // expected-remark@+1 {{norm_qkv: fused @n, @q_proj, @k_proj, @v_proj, kv_write}}
      llm.kv_write %k, %v, %rows, @kv : tensor<?x32xf32>, tensor<?x32xf32>
      %a = llm.attention %q, %rows, @kv scale 0.25 : tensor<?x64xf32> -> tensor<?x64xf32>
      %g = llm.linear %n, @output_gate : tensor<?x64xf32> -> tensor<?x64xf32>
      %s = llm.activation %g sigmoid : tensor<?x64xf32>
      // expected-remark@+2 {{norm_glu not fused: an operand is not a linear}}
      // expected-remark@+1 {{norm_linear: fused @n, @output_gate, activation, mul}}
      %m = llm.mul %a, %s : tensor<?x64xf32>
      %o = llm.linear %m, @o_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      llm.yield %o : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// A gated convolution: the product of two projections is a GLU without an activation, the third is alone. One of a whole
// number of panels goes before one that is not.
// CHECK-LABEL: llm.entry @short_conv
// CHECK-NOT: llm.rms_norm
// CHECK: %conv_c, %odd = llm.norm_projections %h norm @n eps 1.000000e-05 proj [#llm.projection<@conv_c>, #llm.projection<@odd>]
// CHECK: %glu = llm.norm_glu %h norm @n eps 1.000000e-05 proj @conv_b, @conv_x none
llm.model @m architecture "x" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.weight @n norm "{layer}.n" : tensor<2x64xf32>
  llm.weight @conv_b matrix "{layer}.b" : tensor<2x64x64xf32>
  llm.weight @conv_c matrix "{layer}.c" : tensor<2x64x64xf32>
  llm.weight @conv_x matrix "{layer}.x" : tensor<2x64x64xf32>
  llm.weight @odd matrix "{layer}.odd" : tensor<2x4x64xf32>
  llm.weight @conv1d matrix "{layer}.conv1d" : tensor<2x4x64xf32>
  llm.state @conv : !llm.recurrent<3x64xf32> layers 0:2
  llm.entry @short_conv(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      // expected-remark@+1 {{norm_projections: fused @n, @conv_c, @odd}}
      %n = llm.rms_norm %h, @n eps 1.0e-5 : tensor<?x64xf32>
      %b = llm.linear %n, @conv_b : tensor<?x64xf32> -> tensor<?x64xf32>
      %u = llm.linear %n, @conv_x : tensor<?x64xf32> -> tensor<?x64xf32>
      // expected-remark@+1 {{norm_glu: fused @n, @conv_b, @conv_x, mul}}
      %bx = llm.mul %b, %u : tensor<?x64xf32>
      %odd = llm.linear %n, @odd : tensor<?x64xf32> -> tensor<?x4xf32>
      %c = llm.linear %n, @conv_c : tensor<?x64xf32> -> tensor<?x64xf32>
      %r = llm.causal_conv %bx, %rows, @conv, @conv1d none times %c : tensor<?x64xf32>, tensor<?x64xf32>
      %s = llm.scale_rows %r, %odd : tensor<?x64xf32>, tensor<?x4xf32>
      llm.yield %s : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// What else reads the norm needs it in memory, and then the products may read it there too.
// CHECK-LABEL: llm.entry @another_use
// CHECK: llm.rms_norm
// CHECK-NOT: llm.norm_projections
llm.model @m architecture "x" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.weight @n norm "{layer}.n" : tensor<2x64xf32>
  llm.weight @a matrix "{layer}.a" : tensor<2x64x64xf32>
  llm.weight @b matrix "{layer}.b" : tensor<2x64x64xf32>
  llm.entry @another_use(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %n = llm.rms_norm %h, @n eps 1.0e-5 : tensor<?x64xf32>
      %a = llm.linear %n, @a : tensor<?x64xf32> -> tensor<?x64xf32>
      %b = llm.linear %n, @b : tensor<?x64xf32> -> tensor<?x64xf32>
      %s = llm.add %a, %b : tensor<?x64xf32>
      %t = llm.add %s, %n : tensor<?x64xf32>
      llm.yield %t : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// CHECK-LABEL: llm.entry @of_different_layers
// CHECK-NOT: llm.norm_projections
llm.model @m architecture "x" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.weight @n norm "{layer}.n" : tensor<2x64xf32>
  llm.weight @a matrix "{layer}.a" : tensor<2x64x64xf32>
  llm.weight @b matrix "{layer}.b" first_layer 1 : tensor<1x64x64xf32>
  llm.entry @of_different_layers(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %f = llm.layers %h = %x first 0 count 1 : tensor<?x64xf32> {
      llm.yield %h : tensor<?x64xf32>
    }
    %y = llm.layers %h = %f first 1 count 1 : tensor<?x64xf32> {
      // expected-remark@+1 {{norm_projections not fused: @b and @a are of different layers}}
      %n = llm.rms_norm %h, @n eps 1.0e-5 : tensor<?x64xf32>
      %a = llm.linear %n, @a : tensor<?x64xf32> -> tensor<?x64xf32>
      %b = llm.linear %n, @b : tensor<?x64xf32> -> tensor<?x64xf32>
      %s = llm.add %a, %b : tensor<?x64xf32>
      llm.yield %s : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// A norm of what another norm's projection gives, as latent attention has it.
// CHECK-LABEL: llm.entry @one_behind_another
// CHECK: %a, %c = llm.norm_projections %h norm @n eps 1.000000e-05 proj [#llm.projection<@a>, #llm.projection<@c>]
// CHECK: %b = llm.norm_projections %a norm @n eps 1.000000e-05 proj [#llm.projection<@b>]
// CHECK: llm.mul %b, %c
llm.model @m architecture "x" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.weight @n norm "{layer}.n" : tensor<2x64xf32>
  llm.weight @a matrix "{layer}.a" : tensor<2x64x64xf32>
  llm.weight @b matrix "{layer}.b" : tensor<2x64x64xf32>
  llm.weight @c matrix "{layer}.c" : tensor<2x64x64xf32>
  llm.weight @d matrix "{layer}.d" : tensor<2x64x64xf32>
  llm.entry @one_behind_another(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      // expected-remark@+1 {{norm_projections: fused @n, @a, @c}}
      %n = llm.rms_norm %h, @n eps 1.0e-5 : tensor<?x64xf32>
      %a = llm.linear %n, @a : tensor<?x64xf32> -> tensor<?x64xf32>
      // expected-remark@+1 {{norm_projections: fused @n, @b}}
      %m = llm.rms_norm %a, @n eps 1.0e-5 : tensor<?x64xf32>
      %b = llm.linear %m, @b : tensor<?x64xf32> -> tensor<?x64xf32>
      %c = llm.linear %n, @c : tensor<?x64xf32> -> tensor<?x64xf32>
      // expected-remark@+1 {{norm_glu not fused: @b and @c have different inputs}}
      %p = llm.mul %b, %c : tensor<?x64xf32>
      // A projection that joins the residual stream is left to linear_residual.
      // CHECK: llm.rms_norm
      // CHECK-NEXT: llm.linear
      %s = llm.rms_norm %p, @n eps 1.0e-5 : tensor<?x64xf32>
      %d = llm.linear %s, @d : tensor<?x64xf32> -> tensor<?x64xf32>
      %t = llm.add %h, %d : tensor<?x64xf32>
      llm.yield %t : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}
