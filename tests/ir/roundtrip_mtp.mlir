// Steps of multi-token prediction: a block of one layer with a state of its own, which reads hidden rows that the others
// return.
// RUN: llmc-opt %s | llmc-opt | FileCheck %s
// RUN: llmc-opt %s --mlir-print-op-generic | llmc-opt | FileCheck %s

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 2 num_kv_heads 1 head_dim 4
    num_layers 2 vocab_size 20 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @mtp_k_proj matrix "k" : tensor<4x8xf32>
  llm.state @kv : !llm.kv<1x4xf16> layers 0:2
  // CHECK: llm.state @kv_mtp : !llm.kv<1x4xf16> mtp layers 0:1
  llm.state @kv_mtp : !llm.kv<1x4xf16> mtp layers 0:1
  // CHECK-LABEL: llm.entry @decode
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x8xf32> {
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    // CHECK: llm.return %logits, %y : tensor<?x20xf32>, tensor<?x8xf32>
    llm.return %l, %y : tensor<?x20xf32>, tensor<?x8xf32>
  }
  // CHECK-LABEL: llm.entry @mtp(%rows: !llm.rows) mtp max_rows 16 {
  llm.entry @mtp(%rows: !llm.rows) mtp max_rows 16 {
    // CHECK-NEXT: %hidden = llm.hidden %rows : tensor<?x8xf32>
    %x = llm.hidden %rows : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 1 : tensor<?x8xf32> {
      %k = llm.linear %h, @mtp_k_proj : tensor<?x8xf32> -> tensor<?x4xf32>
      // CHECK: llm.kv_write %mtp_k, %mtp_k, %rows, @kv_mtp
      llm.kv_write %k, %k, %rows, @kv_mtp : tensor<?x4xf32>, tensor<?x4xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l, %y : tensor<?x20xf32>, tensor<?x8xf32>
  }
  // CHECK: llm.kernel @k_hidden mtp max_rows 16 row_strides [16] {
  llm.kernel @k_hidden mtp max_rows 16 row_strides [16] {
  ^bb0(%rows: !llm.rows):
    %h = llm.hidden %rows : tensor<?x8xf32>
    llm.yield %h : tensor<?x8xf32>
  }
  // CHECK: llm.schedule @s mtp max_rows 16 max_logits_rows 16 arena_bytes 3072 logits @l hidden @h {
  llm.schedule @s mtp max_rows 16 max_logits_rows 16 arena_bytes 3072 logits @l hidden @h {
    llm.buffer @h offset 0 rows 16 width 8 row_stride 16
    llm.buffer @l offset 1024 rows 16 width 20 row_stride 32
    // CHECK: llm.phase @k_hidden tiles 1 rows_per_tile 1
    // CHECK-SAME: #llm.operand<read input @hidden>
    llm.phase @k_hidden tiles 1 rows_per_tile 1 [#llm.operand<read input @hidden>, #llm.operand<write arena @h>]
  }
}
