// Every message about steps over trees of tokens, each with the smallest IR that earns it.
// RUN: llmc-opt %s --split-input-file --verify-diagnostics

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 2 num_kv_heads 1 head_dim 4 num_layers 2 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  // expected-error@+1 {{'llm.entry' op has trees of 65 rows: at most 64}}
  llm.entry @v(%rows: !llm.rows) verify max_rows 65 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %l = llm.logits %x, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 2 num_kv_heads 1 head_dim 4 num_layers 2 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  // expected-error@+1 {{'llm.entry' op has trees of 65 rows: at most 64}}
  llm.entry @c(%rows: !llm.rows) commit max_rows 65 {
    llm.return
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 2 num_kv_heads 1 head_dim 4 num_layers 2 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.state @kv : !llm.kv<1x4xf16> layers 0:2
  // expected-error@+1 {{'llm.kernel' op has trees of 65 rows: at most 64}}
  llm.kernel @k commit max_rows 65 row_strides [] {
  ^bb0(%rows: !llm.rows):
    llm.kv_move %rows, @kv
    llm.yield
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 2 num_kv_heads 1 head_dim 4 num_layers 2 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  // expected-error@+1 {{'llm.entry' op returns logits, but a commit step has none}}
  llm.entry @c(%rows: !llm.rows) commit max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %l = llm.logits %x, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 2 num_kv_heads 1 head_dim 4 num_layers 2 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  // expected-error@+1 {{'llm.entry' op returns nothing: it must return logits}}
  llm.entry @d(%rows: !llm.rows) verify max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    llm.return
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 2 num_kv_heads 1 head_dim 4 num_layers 2 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.entry @c(%rows: !llm.rows) commit max_rows 8 {
    // expected-error@+1 {{'llm.embed' op computes in a commit step, which brings states up to date and does nothing else}}
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    llm.return
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 2 num_kv_heads 1 head_dim 4 num_layers 2 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.state @kv : !llm.kv<1x4xf16> layers 0:2
  llm.kernel @k decode max_rows 8 row_strides [] {
  ^bb0(%rows: !llm.rows):
    // expected-error@+1 {{'llm.kv_move' op moves keys and values in a step of kind decode: commit alone does}}
    llm.kv_move %rows, @kv
    llm.yield
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 2 num_kv_heads 1 head_dim 4 num_layers 2 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.state @s : !llm.kept<8x4xf32> layers 0:2
  llm.kernel @k decode max_rows 8 row_strides [16] {
  ^bb0(%x: tensor<?x4xf32>):
    // expected-error@+1 {{'llm.keep' op stands in a step of kind decode: verify alone has it}}
    llm.keep %x, @s : tensor<?x4xf32>
    llm.yield
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 2 num_kv_heads 1 head_dim 4 num_layers 2 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.state @s : !llm.kept<8x4xf32> layers 0:2
  llm.kernel @k verify max_rows 8 row_strides [16] {
  ^bb0(%rows: !llm.rows):
    // expected-error@+1 {{'llm.kept' op stands in a step of kind verify: commit alone has it}}
    %y = llm.kept %rows, @s : tensor<?x4xf32>
    llm.yield %y : tensor<?x4xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 2 num_kv_heads 1 head_dim 4 num_layers 2 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.state @s : !llm.recurrent<8x4xf32> layers 0:2
  llm.kernel @k verify max_rows 8 row_strides [16] {
  ^bb0(%x: tensor<?x4xf32>):
    // expected-error@+1 {{'llm.keep' op needs kept rows, but @s is a '!llm.recurrent<8x4xf32>'}}
    llm.keep %x, @s : tensor<?x4xf32>
    llm.yield
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 2 num_kv_heads 1 head_dim 4 num_layers 2 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.state @s : !llm.kept<8x5xf32> layers 0:2
  llm.kernel @k verify max_rows 8 row_strides [16] {
  ^bb0(%x: tensor<?x4xf32>):
    // expected-error@+1 {{'llm.keep' op has rows of 4, but @s keeps rows of 5}}
    llm.keep %x, @s : tensor<?x4xf32>
    llm.yield
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 2 num_kv_heads 1 head_dim 4 num_layers 2 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.state @s : !llm.kept<8x4xf32> layers 0:2
  llm.kernel @k commit max_rows 9 row_strides [16] {
  ^bb0(%rows: !llm.rows):
    // expected-error@+1 {{'llm.kept' op has up to 9 rows, but @s keeps 8}}
    %y = llm.kept %rows, @s : tensor<?x4xf32>
    llm.yield %y : tensor<?x4xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 2 num_kv_heads 1 head_dim 4 num_layers 2 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{kept rows: 0 of 4: both must be positive}}
  llm.state @s : !llm.kept<0x4xf32> layers 0:2
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 2 num_kv_heads 1 head_dim 4 num_layers 2 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{expected rows x width x f32}}
  llm.state @s : !llm.kept<8x4xbf16> layers 0:2
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 2 num_kv_heads 1 head_dim 4 num_layers 2 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.state @conv : !llm.recurrent<4x3xf32> layers 0:2
  llm.kernel @k commit max_rows 8 row_strides [] {
  ^bb0(%rows: !llm.rows):
    // expected-error@+1 {{'llm.kv_move' op needs keys and values, but @conv is a '!llm.recurrent<4x3xf32>'}}
    llm.kv_move %rows, @conv
    llm.yield
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 2 num_kv_heads 1 head_dim 4 num_layers 2 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.entry @c(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    // expected-error@+1 {{'llm.layers' op yields ('tensor<?x8xf32>'): it must yield nothing, as the layers have no residual stream}}
    llm.layers first 0 count 2 {
      llm.yield %x : tensor<?x8xf32>
    }
    %l = llm.logits %x, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 2 num_kv_heads 1 head_dim 4 num_layers 2 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.entry @c(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    // expected-error@+1 {{'llm.layers' op takes ('tensor<?x8xf32>') and gives (): both must be the residual stream, or nothing}}
    "llm.layers"(%x) <{first_layer = 0 : i64, num_layers = 2 : i64}> ({
    ^bb0(%h: tensor<?x8xf32>):
      llm.yield %h : tensor<?x8xf32>
    }) : (tensor<?x8xf32>) -> ()
    %l = llm.logits %x, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 2 num_kv_heads 1 head_dim 4 num_layers 2 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.entry @c(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    // expected-error@+1 {{'llm.layers' op has a body that takes ('tensor<?x8xf32>'): it must take nothing, as the layers have no residual stream}}
    "llm.layers"() <{first_layer = 0 : i64, num_layers = 2 : i64}> ({
    ^bb0(%h: tensor<?x8xf32>):
      llm.yield
    }) : () -> ()
    %l = llm.logits %x, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 2 num_kv_heads 1 head_dim 4 num_layers 2 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.schedule' op has logits, but a commit step has none}}
  llm.schedule @s commit max_rows 8 max_logits_rows 1 arena_bytes 640 logits @logits {
    llm.buffer @logits offset 0 rows 8 width 20 row_stride 20
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 2 num_kv_heads 1 head_dim 4 num_layers 2 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.schedule' op has no logits}}
  llm.schedule @s verify max_rows 8 max_logits_rows 1 arena_bytes 640 {
    llm.buffer @logits offset 0 rows 8 width 20 row_stride 20
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 2 num_kv_heads 1 head_dim 4 num_layers 2 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.schedule' op max_logits_rows is 1 of no logits}}
  llm.schedule @s commit max_rows 8 max_logits_rows 1 arena_bytes 0 {
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 2 num_kv_heads 1 head_dim 4 num_layers 2 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.state @kv : !llm.kv<1x4xf16> layers 0:2
  llm.kernel @k_move commit max_rows 8 row_strides [] {
  ^bb0(%rows: !llm.rows):
    llm.kv_move %rows, @kv
    llm.yield
  }
  llm.schedule @s commit max_rows 8 max_logits_rows 0 arena_bytes 0 {
    llm.repeat first_layer 0 num_layers 2 {
      // expected-error@+1 {{'llm.phase' op has #llm.operand<read input @parent>, but its kernel takes the input @slot}}
      llm.phase @k_move tiles 1 rows_per_tile 0
        [#llm.operand<read input @pos>, #llm.operand<read input @parent>, #llm.operand<read input @seq>,
         #llm.operand<read block_table @kv>, #llm.operand<read_write keys @kv>, #llm.operand<read_write values @kv>]
    }
  }
}
