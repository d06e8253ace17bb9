// RUN: llmc-opt %s --llmc-pipeline | FileCheck %s

// Linear attention is scheduled with the slots of its states, and the schedule checker lets it pass: each layer's states
// are read and written once a step.
// CHECK:      llm.packed_weight @conv1d.rows rows concat of [@conv1d] : bf16
// CHECK:      llm.packed_weight @a_log.rows rows concat of [@a_log] : f32
// CHECK:      llm.phase @causal_conv_4x48_bf16_decode tiles 1 rows_per_tile 0 [{{.*}}, #llm.operand<read weights @conv1d.rows>, #llm.operand<read input @seq>, #llm.operand<read slots @conv>, #llm.operand<read_write recurrent @conv>, #llm.operand<write arena @causal_conv>]
// CHECK-NEXT: llm.phase @gated_delta_2x4x4x8_decode tiles 4 rows_per_tile 0 [#llm.operand<read arena @causal_conv>, {{.*}}, #llm.operand<read input @seq>, #llm.operand<read slots @delta>, #llm.operand<read_write recurrent @delta>, {{.*}}]
llm.model @m architecture "qwen3_next" hidden_size 32 intermediate_size 48 num_heads 4 num_kv_heads 2 head_dim 8 num_layers 2 vocab_size 50 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<50x32xbf16>
  llm.weight @in_proj_qkv matrix "{layer}.qkv" : tensor<2x48x32xbf16>
  llm.weight @in_proj_a matrix "{layer}.a" : tensor<2x4x32xbf16>
  llm.weight @in_proj_b matrix "{layer}.b" : tensor<2x4x32xbf16>
  llm.weight @conv1d matrix "{layer}.conv1d" view <stored[48, 1, 4] begin 0 run 4 outer 0 inner 1 col 4> : tensor<2x4x48xbf16>
  llm.weight @a_log bias "{layer}.A_log" : tensor<2x4xf32>
  llm.weight @dt_bias bias "{layer}.dt_bias" : tensor<2x4xbf16>
  llm.state @conv : !llm.recurrent<3x48xf32> layers 0:2
  llm.state @delta : !llm.recurrent<4x4x8xf32> layers 0:2
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x32xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x32xf32> {
      %qkv = llm.linear %h, @in_proj_qkv : tensor<?x32xf32> -> tensor<?x48xf32>
      %gate = llm.linear %h, @in_proj_a : tensor<?x32xf32> -> tensor<?x4xf32>
      %beta = llm.linear %h, @in_proj_b : tensor<?x32xf32> -> tensor<?x4xf32>
      %c = llm.causal_conv %qkv, %rows, @conv, @conv1d silu : tensor<?x48xf32>
      %d = llm.gated_delta %c, %gate, %beta, %rows, @delta, @a_log, @dt_bias eps 1.0e-6
        : tensor<?x48xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
      llm.yield %d : tensor<?x32xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x32xf32> -> tensor<?x50xf32>
    llm.return %l : tensor<?x50xf32>
  }
}
