// Linear attention: printed, parsed and printed again, in the generic form too.
// RUN: llmc-opt %s | llmc-opt | FileCheck %s
// RUN: llmc-opt %s --mlir-print-op-generic | llmc-opt | FileCheck %s

llm.model @m architecture "qwen3_next" hidden_size 32 intermediate_size 48 num_heads 4 num_kv_heads 2 head_dim 8
    num_layers 2 vocab_size 50 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<50x32xbf16>
  llm.weight @in_proj_qkv matrix "{layer}.qkv" : tensor<2x48x32xbf16>
  llm.weight @in_proj_a matrix "{layer}.a" : tensor<2x4x32xbf16>
  llm.weight @in_proj_b matrix "{layer}.b" : tensor<2x4x32xbf16>
  // The checkpoint has a row of four factors per column.
  // CHECK: llm.weight @conv1d matrix "{layer}.conv1d" view <stored[48, 1, 4] begin 0 run 4 outer 0 inner 1 col 4> : tensor<2x4x48xbf16>
  llm.weight @conv1d matrix "{layer}.conv1d" view <stored[48, 1, 4] begin 0 run 4 outer 0 inner 1 col 4>
      : tensor<2x4x48xbf16>
  llm.weight @a_log bias "{layer}.A_log" : tensor<2x4xf32>
  llm.weight @dt_bias bias "{layer}.dt_bias" : tensor<2x4xbf16>
  llm.state @conv : !llm.recurrent<3x48xf32> layers 0:2
  llm.state @delta : !llm.recurrent<4x4x8xf32> layers 0:2
  llm.weight @conv_bias bias "{layer}.conv1d.bias" : tensor<2x48xf32>
  llm.weight @d bias "{layer}.D" : tensor<2x4xf32>
  llm.state @ssm : !llm.recurrent<4x4x8xf32> layers 0:2
  // CHECK: llm.state @kept_qkv : !llm.kept<8x48xf32> layers 0:2
  llm.state @kept_qkv : !llm.kept<8x48xf32> layers 0:2
  llm.state @kept_gate : !llm.kept<8x4xf32> layers 0:2
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x32xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x32xf32> {
      %0 = llm.linear %h, @in_proj_qkv : tensor<?x32xf32> -> tensor<?x48xf32>
      %1 = llm.linear %h, @in_proj_a : tensor<?x32xf32> -> tensor<?x4xf32>
      %2 = llm.linear %h, @in_proj_b : tensor<?x32xf32> -> tensor<?x4xf32>
      // CHECK: %causal_conv = llm.causal_conv %in_proj_qkv, %rows, @conv, @conv1d silu : tensor<?x48xf32>
      %3 = llm.causal_conv %0, %rows, @conv, @conv1d silu : tensor<?x48xf32>
      // CHECK-NEXT: %gated_delta = llm.gated_delta %causal_conv, %in_proj_a, %in_proj_b, %rows, @delta, @a_log, @dt_bias eps 1.000000e-05
      // CHECK-SAME: : tensor<?x48xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
      %4 = llm.gated_delta %3, %1, %2, %rows, @delta, @a_log, @dt_bias eps 1.0e-5
        : tensor<?x48xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
      // CHECK: llm.causal_conv %in_proj_qkv, %rows, @conv, @conv1d bias @conv_bias none times %causal_conv : tensor<?x48xf32>, tensor<?x48xf32>
      %5 = llm.causal_conv %0, %rows, @conv, @conv1d bias @conv_bias none times %3 : tensor<?x48xf32>, tensor<?x48xf32>
      // CHECK: %ssd = llm.ssd %{{.*}}, %in_proj_a, %rows, @ssm, @a_log, @dt_bias, @d : tensor<?x48xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
      %6 = llm.ssd %5, %1, %rows, @ssm, @a_log, @dt_bias, @d : tensor<?x48xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
      // CHECK: llm.ssd %{{.*}}, %in_proj_a, %rows, @ssm, @a_log rate, @dt_bias, @d from 1.000000e-03 to 1.500000e+00 times %ssd
      // CHECK-SAME: : tensor<?x48xf32>, tensor<?x4xf32>, tensor<?x32xf32> -> tensor<?x32xf32>
      %7 = llm.ssd %5, %1, %rows, @ssm, @a_log rate, @dt_bias, @d from 1.0e-3 to 1.5 times %6
        : tensor<?x48xf32>, tensor<?x4xf32>, tensor<?x32xf32> -> tensor<?x32xf32>
      // CHECK: llm.gated_delta {{.*}} eps 1.000000e-05 tiled : tensor<?x48xf32>
      %8 = llm.gated_delta %3, %1, %2, %rows, @delta, @a_log, @dt_bias eps 1.0e-5 tiled
        : tensor<?x48xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
      llm.yield %4 : tensor<?x32xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x32xf32> -> tensor<?x50xf32>
    llm.return %l : tensor<?x50xf32>
  }
  llm.entry @verify(%rows: !llm.rows) verify max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x32xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x32xf32> {
      %0 = llm.linear %h, @in_proj_qkv : tensor<?x32xf32> -> tensor<?x48xf32>
      // CHECK: llm.keep %in_proj_qkv, @kept_qkv : tensor<?x48xf32>
      llm.keep %0, @kept_qkv : tensor<?x48xf32>
      llm.yield %h : tensor<?x32xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x32xf32> -> tensor<?x50xf32>
    llm.return %l : tensor<?x50xf32>
  }
  llm.entry @commit(%rows: !llm.rows) commit max_rows 8 {
    llm.layers first 0 count 2 {
      // CHECK: %kept_qkv = llm.kept %rows, @kept_qkv : tensor<?x48xf32>
      %0 = llm.kept %rows, @kept_qkv : tensor<?x48xf32>
      %1 = llm.kept %rows, @kept_gate : tensor<?x4xf32>
      %3 = llm.causal_conv %0, %rows, @conv, @conv1d silu : tensor<?x48xf32>
      %4 = llm.gated_delta %3, %1, %1, %rows, @delta, @a_log, @dt_bias eps 1.0e-5
        : tensor<?x48xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
      llm.yield
    }
    llm.return
  }
}
