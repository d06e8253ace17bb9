// The mutations themselves are tests of the check on plans; here: the pass says what the check found.
// RUN: llmc-opt %s --llm-check-schedule --split-input-file --verify-diagnostics

llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.packed_weight @embed_tokens.panels panels concat of [@embed_tokens] : f32
  llm.schedule @decode decode max_rows 4 max_logits_rows 4 arena_bytes 4096 logits @logits {
    llm.buffer @h offset 0 rows 4 width 64 row_stride 64
    llm.buffer @s offset 1024 rows 4 width 64 row_stride 64
    llm.buffer @logits offset 2048 rows 4 width 128 row_stride 128
    llm.phase @embed tiles 1 rows_per_tile 1 [#llm.operand<read input @token_id>, #llm.operand<read weights @embed_tokens.panels>, #llm.operand<write arena @h>]
    llm.repeat first_layer 0 num_layers 2 {
      llm.phase @add tiles 1 rows_per_tile 1 [#llm.operand<read arena @h>, #llm.operand<read arena @h>, #llm.operand<write arena @s>]
    }
    llm.phase @logits_kernel tiles 2 rows_per_tile 0 [#llm.operand<read arena @s>, #llm.operand<read weights @embed_tokens.panels>, #llm.operand<read input @logits_rows>, #llm.operand<write arena @logits>]
  }
  llm.kernel @embed decode max_rows 4 row_strides [64] {
  ^bb0(%rows: !llm.rows):
    %y = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    llm.yield %y : tensor<?x64xf32>
  }
  llm.kernel @add decode max_rows 4 row_strides [64, 64, 64] {
  ^bb0(%a: tensor<?x64xf32>, %b: tensor<?x64xf32>):
    %y = llm.add %a, %b : tensor<?x64xf32>
    llm.yield %y : tensor<?x64xf32>
  }
  llm.kernel @logits_kernel decode max_rows 4 row_strides [64, 128] {
  ^bb0(%x: tensor<?x64xf32>, %rows: !llm.rows):
    %y = llm.logits %x, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.yield %y : tensor<?x128xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.packed_weight @embed_tokens.panels panels concat of [@embed_tokens] : f32
  // expected-error@+1 {{is not a schedule: section 0 phase 0 (add): reads buffer h before it is written}}
  llm.schedule @decode decode max_rows 4 max_logits_rows 4 arena_bytes 4096 logits @logits {
    llm.buffer @h offset 0 rows 4 width 64 row_stride 64
    llm.buffer @s offset 1024 rows 4 width 64 row_stride 64
    llm.buffer @logits offset 2048 rows 4 width 128 row_stride 128
    llm.phase @add tiles 1 rows_per_tile 1 [#llm.operand<read arena @h>, #llm.operand<read arena @h>, #llm.operand<write arena @s>]
    llm.phase @embed tiles 1 rows_per_tile 1 [#llm.operand<read input @token_id>, #llm.operand<read weights @embed_tokens.panels>, #llm.operand<write arena @h>]
    llm.phase @logits_kernel tiles 2 rows_per_tile 0 [#llm.operand<read arena @s>, #llm.operand<read weights @embed_tokens.panels>, #llm.operand<read input @logits_rows>, #llm.operand<write arena @logits>]
  }
  llm.kernel @embed decode max_rows 4 row_strides [64] {
  ^bb0(%rows: !llm.rows):
    %y = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    llm.yield %y : tensor<?x64xf32>
  }
  llm.kernel @add decode max_rows 4 row_strides [64, 64, 64] {
  ^bb0(%a: tensor<?x64xf32>, %b: tensor<?x64xf32>):
    %y = llm.add %a, %b : tensor<?x64xf32>
    llm.yield %y : tensor<?x64xf32>
  }
  llm.kernel @logits_kernel decode max_rows 4 row_strides [64, 128] {
  ^bb0(%x: tensor<?x64xf32>, %rows: !llm.rows):
    %y = llm.logits %x, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.yield %y : tensor<?x128xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.packed_weight @embed_tokens.panels panels concat of [@embed_tokens] : f32
  // expected-error@+1 {{is not a schedule: section 0 phase 1 (add): writes buffer s over bytes of its other operand h}}
  llm.schedule @decode decode max_rows 4 max_logits_rows 4 arena_bytes 4096 logits @logits {
    llm.buffer @h offset 0 rows 4 width 64 row_stride 64
    llm.buffer @s offset 512 rows 4 width 64 row_stride 64
    llm.buffer @logits offset 2048 rows 4 width 128 row_stride 128
    llm.phase @embed tiles 1 rows_per_tile 1 [#llm.operand<read input @token_id>, #llm.operand<read weights @embed_tokens.panels>, #llm.operand<write arena @h>]
    llm.phase @add tiles 1 rows_per_tile 1 [#llm.operand<read arena @h>, #llm.operand<read arena @h>, #llm.operand<write arena @s>]
    llm.phase @logits_kernel tiles 2 rows_per_tile 0 [#llm.operand<read arena @s>, #llm.operand<read weights @embed_tokens.panels>, #llm.operand<read input @logits_rows>, #llm.operand<write arena @logits>]
  }
  llm.kernel @embed decode max_rows 4 row_strides [64] {
  ^bb0(%rows: !llm.rows):
    %y = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    llm.yield %y : tensor<?x64xf32>
  }
  llm.kernel @add decode max_rows 4 row_strides [64, 64, 64] {
  ^bb0(%a: tensor<?x64xf32>, %b: tensor<?x64xf32>):
    %y = llm.add %a, %b : tensor<?x64xf32>
    llm.yield %y : tensor<?x64xf32>
  }
  llm.kernel @logits_kernel decode max_rows 4 row_strides [64, 128] {
  ^bb0(%x: tensor<?x64xf32>, %rows: !llm.rows):
    %y = llm.logits %x, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.yield %y : tensor<?x128xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.packed_weight @embed_tokens.panels panels concat of [@embed_tokens] : f32
  // expected-error@+1 {{is not a schedule: section 0 phase 1 (logits): reads buffer s before it is written}}
  llm.schedule @decode decode max_rows 4 max_logits_rows 4 arena_bytes 4096 logits @logits {
    llm.buffer @h offset 0 rows 4 width 64 row_stride 64
    llm.buffer @s offset 1024 rows 4 width 64 row_stride 64
    llm.buffer @logits offset 2048 rows 4 width 128 row_stride 128
    llm.phase @embed tiles 1 rows_per_tile 1 [#llm.operand<read input @token_id>, #llm.operand<read weights @embed_tokens.panels>, #llm.operand<write arena @h>]
    llm.phase @logits_kernel tiles 2 rows_per_tile 0 [#llm.operand<read arena @s>, #llm.operand<read weights @embed_tokens.panels>, #llm.operand<read input @logits_rows>, #llm.operand<write arena @logits>]
  }
  llm.kernel @embed decode max_rows 4 row_strides [64] {
  ^bb0(%rows: !llm.rows):
    %y = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    llm.yield %y : tensor<?x64xf32>
  }
  llm.kernel @add decode max_rows 4 row_strides [64, 64, 64] {
  ^bb0(%a: tensor<?x64xf32>, %b: tensor<?x64xf32>):
    %y = llm.add %a, %b : tensor<?x64xf32>
    llm.yield %y : tensor<?x64xf32>
  }
  llm.kernel @logits_kernel decode max_rows 4 row_strides [64, 128] {
  ^bb0(%x: tensor<?x64xf32>, %rows: !llm.rows):
    %y = llm.logits %x, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.yield %y : tensor<?x128xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.packed_weight @embed_tokens.panels panels concat of [@embed_tokens] : f32
  // expected-error@+1 {{is not a schedule: its sections run 0 layers of 2}}
  llm.schedule @decode decode max_rows 4 max_logits_rows 4 arena_bytes 4096 logits @logits {
    llm.buffer @h offset 0 rows 4 width 64 row_stride 64
    llm.buffer @s offset 1024 rows 4 width 64 row_stride 64
    llm.buffer @logits offset 2048 rows 4 width 128 row_stride 128
    llm.phase @embed tiles 1 rows_per_tile 1 [#llm.operand<read input @token_id>, #llm.operand<read weights @embed_tokens.panels>, #llm.operand<write arena @h>]
    llm.phase @add tiles 1 rows_per_tile 1 [#llm.operand<read arena @h>, #llm.operand<read arena @h>, #llm.operand<write arena @s>]
    llm.phase @logits_kernel tiles 2 rows_per_tile 0 [#llm.operand<read arena @s>, #llm.operand<read weights @embed_tokens.panels>, #llm.operand<read input @logits_rows>, #llm.operand<write arena @logits>]
  }
  llm.kernel @embed decode max_rows 4 row_strides [64] {
  ^bb0(%rows: !llm.rows):
    %y = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    llm.yield %y : tensor<?x64xf32>
  }
  llm.kernel @add decode max_rows 4 row_strides [64, 64, 64] {
  ^bb0(%a: tensor<?x64xf32>, %b: tensor<?x64xf32>):
    %y = llm.add %a, %b : tensor<?x64xf32>
    llm.yield %y : tensor<?x64xf32>
  }
  llm.kernel @logits_kernel decode max_rows 4 row_strides [64, 128] {
  ^bb0(%x: tensor<?x64xf32>, %rows: !llm.rows):
    %y = llm.logits %x, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.yield %y : tensor<?x128xf32>
  }
}

// -----

// A commit step moves what is there already, and gives nothing.
llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.state @kv : !llm.kv<2x16xf16> layers 0:2
  llm.kernel @move commit max_rows 24 row_strides [] {
  ^bb0(%rows: !llm.rows):
    llm.kv_move %rows, @kv
    llm.yield
  }
  llm.schedule @commit commit max_rows 24 max_logits_rows 0 arena_bytes 0 {
    llm.repeat first_layer 0 num_layers 2 {
      llm.phase @move tiles 2 rows_per_tile 0 [#llm.operand<read input @pos>, #llm.operand<read input @slot>, #llm.operand<read input @seq>, #llm.operand<read block_table @kv>, #llm.operand<read_write keys @kv>, #llm.operand<read_write values @kv>]
    }
  }
}

// -----

llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.state @kv : !llm.kv<2x16xf16> layers 0:2
  llm.kernel @move commit max_rows 24 row_strides [] {
  ^bb0(%rows: !llm.rows):
    llm.kv_move %rows, @kv
    llm.yield
  }
  // expected-error@+1 {{is not a schedule: its phases write state 0 in 1 of its 2 layers}}
  llm.schedule @commit commit max_rows 24 max_logits_rows 0 arena_bytes 0 {
    llm.repeat first_layer 0 num_layers 1 {
      llm.phase @move tiles 2 rows_per_tile 0 [#llm.operand<read input @pos>, #llm.operand<read input @slot>, #llm.operand<read input @seq>, #llm.operand<read block_table @kv>, #llm.operand<read_write keys @kv>, #llm.operand<read_write values @kv>]
    }
    llm.repeat first_layer 1 num_layers 1 {
    }
  }
}
