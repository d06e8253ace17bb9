// Steps over trees of tokens: verify, whose rows have slots and parents, and commit, which has no
// residual stream and returns nothing.
// RUN: llmc-opt %s | llmc-opt | FileCheck %s
// RUN: llmc-opt %s --mlir-print-op-generic | llmc-opt | FileCheck %s

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 2 num_kv_heads 1 head_dim 4
    num_layers 2 vocab_size 20 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.state @kv : !llm.kv<1x4xf16> layers 0:2
  // CHECK-LABEL: llm.entry @verify(%rows: !llm.rows) verify max_rows 64 {
  llm.entry @verify(%rows: !llm.rows) verify max_rows 64 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x8xf32> {
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
  // CHECK-LABEL: llm.entry @commit(%rows: !llm.rows) commit max_rows 64 {
  llm.entry @commit(%rows: !llm.rows) commit max_rows 64 {
    // CHECK-NEXT: llm.layers first 0 count 2 {
    llm.layers first 0 count 2 {
      // CHECK-NEXT: llm.kv_move %rows, @kv
      llm.kv_move %rows, @kv
      // CHECK-NEXT: llm.yield
      llm.yield
      // CHECK-NEXT: }
    }
    // CHECK-NEXT: llm.return
    llm.return
  }
  // CHECK: llm.kernel @k_write verify max_rows 64
  llm.kernel @k_write verify max_rows 64 row_strides [16, 16] {
  ^bb0(%k: tensor<?x4xf32>, %v: tensor<?x4xf32>, %rows: !llm.rows):
    llm.kv_write %k, %v, %rows, @kv : tensor<?x4xf32>, tensor<?x4xf32>
    llm.yield
  }
  // CHECK: llm.kernel @k_move commit max_rows 64 row_strides [] {
  // CHECK-NEXT: ^bb0(%rows: !llm.rows):
  llm.kernel @k_move commit max_rows 64 row_strides [] {
  ^bb0(%rows: !llm.rows):
    llm.kv_move %rows, @kv
    llm.yield
  }
  // CHECK: llm.schedule @s commit max_rows 64 max_logits_rows 0 arena_bytes 0 {
  llm.schedule @s commit max_rows 64 max_logits_rows 0 arena_bytes 0 {
    llm.repeat first_layer 0 num_layers 2 {
      // CHECK: llm.phase @k_move tiles 1 rows_per_tile 0
      // CHECK-SAME: #llm.operand<read_write keys @kv>, #llm.operand<read_write values @kv>
      llm.phase @k_move tiles 1 rows_per_tile 0
        [#llm.operand<read input @pos>, #llm.operand<read input @slot>, #llm.operand<read input @seq>,
         #llm.operand<read block_table @kv>, #llm.operand<read_write keys @kv>, #llm.operand<read_write values @kv>]
    }
  }
}
