// Every message about states: of the ops that name them, and of the phases that give them to kernels. Those of
// llm.state itself are in invalid_model.mlir.
// RUN: llmc-opt %s --split-input-file --verify-diagnostics

//===-- ops --===//

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @q_proj matrix "{layer}.q" : tensor<3x16x8xf32>
  llm.state @kv : !llm.kv<2x4xf16> layers 0:3
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      %0 = llm.linear %h, @q_proj : tensor<?x8xf32> -> tensor<?x16xf32>
      // expected-error@+1 {{'llm.kv_write' op has keys of 16, but @kv has 2 KV heads of 4}}
      llm.kv_write %0, %h, %rows, @kv : tensor<?x16xf32>, tensor<?x8xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.state @kv : !llm.kv<2x4xf16> layers 0:3
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    // expected-error@+1 {{'llm.kv_write' op uses the state @kv outside llm.layers}}
    llm.kv_write %x, %x, %rows, @kv : tensor<?x8xf32>, tensor<?x8xf32>
    %l = llm.logits %x, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.kv_write' op names the state @kv, which the model lacks}}
      llm.kv_write %h, %h, %rows, @kv : tensor<?x8xf32>, tensor<?x8xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.state @kv : !llm.recurrent<4x8xf32> layers 0:3
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.kv_write' op needs keys and values, but @kv is a '!llm.recurrent<4x8xf32>'}}
      llm.kv_write %h, %h, %rows, @kv : tensor<?x8xf32>, tensor<?x8xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.state @kv : !llm.kv<2x4xf16> layers 0:2
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.kv_write' op runs in layers 0 to 2, not all of which have the state @kv}}
      llm.kv_write %h, %h, %rows, @kv : tensor<?x8xf32>, tensor<?x8xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.attention' op names the state @kv, which the model lacks}}
      %0 = llm.attention %h, %rows, @kv scale 0.5 : tensor<?x8xf32> -> tensor<?x8xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.state @kv : !llm.recurrent<4x8xf32> layers 0:3
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.attention' op needs keys and values, but @kv is a '!llm.recurrent<4x8xf32>'}}
      %0 = llm.attention %h, %rows, @kv scale 0.5 : tensor<?x8xf32> -> tensor<?x8xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.state @kv : !llm.kv<2x4xf16> layers 0:2
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.attention' op runs in layers 0 to 2, not all of which have the state @kv}}
      %0 = llm.attention %h, %rows, @kv scale 0.5 : tensor<?x8xf32> -> tensor<?x8xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @n norm "{layer}.n" : tensor<3x8xf32>
  llm.weight @w matrix "{layer}.w" : tensor<3x8x8xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.norm_qkv' op names the state @kv, which the model lacks}}
      %0 = llm.norm_qkv %h, %rows, @kv norm @n eps 1.0e-5 proj @w, @w, @w : tensor<?x8xf32> -> tensor<?x8xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @n norm "{layer}.n" : tensor<3x8xf32>
  llm.weight @w matrix "{layer}.w" : tensor<3x8x8xf32>
  llm.state @kv : !llm.recurrent<4x8xf32> layers 0:3
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.norm_qkv' op needs keys and values, but @kv is a '!llm.recurrent<4x8xf32>'}}
      %0 = llm.norm_qkv %h, %rows, @kv norm @n eps 1.0e-5 proj @w, @w, @w : tensor<?x8xf32> -> tensor<?x8xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @n norm "{layer}.n" : tensor<3x8xf32>
  llm.weight @w matrix "{layer}.w" : tensor<3x8x8xf32>
  llm.state @kv : !llm.kv<2x4xf16> layers 0:2
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.norm_qkv' op runs in layers 0 to 2, not all of which have the state @kv}}
      %0 = llm.norm_qkv %h, %rows, @kv norm @n eps 1.0e-5 proj @w, @w, @w : tensor<?x8xf32> -> tensor<?x8xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.state @kv : !llm.kv<2x4xf16> layers 0:1, 2:3
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.kv_write' op runs in layers 0 to 2, not all of which have the state @kv}}
      llm.kv_write %h, %h, %rows, @kv : tensor<?x8xf32>, tensor<?x8xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.kv_write' op names the state @embed_tokens, which the model lacks}}
      llm.kv_write %h, %h, %rows, @embed_tokens : tensor<?x8xf32>, tensor<?x8xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.state @kv : !llm.kv<2x4x3xf16> layers 0:3
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.kv_write' op has values of 8, but @kv has 2 KV heads of 3}}
      llm.kv_write %h, %h, %rows, @kv : tensor<?x8xf32>, tensor<?x8xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.state @kv : !llm.kv<2x4x3xf16> layers 0:3
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.attention' op gives rows of 8, but 2 heads have values of 3}}
      %0 = llm.attention %h, %rows, @kv scale 0.5 : tensor<?x8xf32> -> tensor<?x8xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @n norm "{layer}.n" : tensor<3x8xf32>
  llm.weight @w matrix "{layer}.w" : tensor<3x8x8xf32>
  llm.state @kv : !llm.kv<2x4x3xf16> layers 0:3
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.norm_qkv' op writes values of 4 to a cache of values of 3}}
      %0 = llm.norm_qkv %h, %rows, @kv norm @n eps 1.0e-5 proj @w, @w, @w : tensor<?x8xf32> -> tensor<?x8xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @gate_proj matrix "{layer}.g" : tensor<3x12x8xf32>
  llm.state @kv : !llm.kv<2x4xf16> layers 0:3
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      %0 = llm.linear %h, @gate_proj : tensor<?x8xf32> -> tensor<?x12xf32>
      // expected-error@+1 {{'llm.attention' op has queries of 12: not a multiple of 2 KV heads of 4}}
      %1 = llm.attention %0, %rows, @kv scale 0.5 : tensor<?x12xf32> -> tensor<?x12xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

//===-- phases --===//

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.state @kv : !llm.kv<2x4xf16> layers 0:3
  llm.kernel @k_kv decode max_rows 8 row_strides [8, 8] {
  ^bb0(%k: tensor<?x8xf32>, %v: tensor<?x8xf32>, %rows: !llm.rows):
    llm.kv_write %k, %v, %rows, @kv : tensor<?x8xf32>, tensor<?x8xf32>
    llm.yield
  }
  llm.schedule @s decode max_rows 8 max_logits_rows 1 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
    llm.buffer @h offset 0 rows 8 width 8 row_stride 8
    // expected-error@+1 {{'llm.phase' op has #llm.operand<read block_table @kv> outside llm.repeat}}
    llm.phase @k_kv tiles 1 rows_per_tile 1 [#llm.operand<read arena @h>, #llm.operand<read arena @h>, #llm.operand<read input @pos>, #llm.operand<read input @seq>, #llm.operand<read block_table @kv>, #llm.operand<write keys @kv>, #llm.operand<write values @kv>]
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.state @kv : !llm.kv<2x4xf16> layers 0:3
  llm.kernel @k_kv decode max_rows 8 row_strides [8, 8] {
  ^bb0(%k: tensor<?x8xf32>, %v: tensor<?x8xf32>, %rows: !llm.rows):
    llm.kv_write %k, %v, %rows, @kv : tensor<?x8xf32>, tensor<?x8xf32>
    llm.yield
  }
  llm.schedule @s decode max_rows 8 max_logits_rows 1 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
    llm.buffer @h offset 0 rows 8 width 8 row_stride 8
    llm.repeat first_layer 0 num_layers 3 {
      // expected-error@+1 {{'llm.phase' op has #llm.operand<read input @seq>, but its kernel takes the input @pos}}
      llm.phase @k_kv tiles 1 rows_per_tile 1 [#llm.operand<read arena @h>, #llm.operand<read arena @h>, #llm.operand<read input @seq>, #llm.operand<read input @seq>, #llm.operand<read block_table @kv>, #llm.operand<write keys @kv>, #llm.operand<write values @kv>]
    }
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.state @kv : !llm.kv<2x4xf16> layers 0:3
  llm.kernel @k_kv decode max_rows 8 row_strides [8, 8] {
  ^bb0(%k: tensor<?x8xf32>, %v: tensor<?x8xf32>, %rows: !llm.rows):
    llm.kv_write %k, %v, %rows, @kv : tensor<?x8xf32>, tensor<?x8xf32>
    llm.yield
  }
  llm.schedule @s decode max_rows 8 max_logits_rows 1 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
    llm.buffer @h offset 0 rows 8 width 8 row_stride 8
    llm.repeat first_layer 0 num_layers 3 {
      // expected-error@+1 {{'llm.phase' op has #llm.operand<read block_table @missing>, but the model has no such state}}
      llm.phase @k_kv tiles 1 rows_per_tile 1 [#llm.operand<read arena @h>, #llm.operand<read arena @h>, #llm.operand<read input @pos>, #llm.operand<read input @seq>, #llm.operand<read block_table @missing>, #llm.operand<write keys @kv>, #llm.operand<write values @kv>]
    }
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.state @kv : !llm.kv<2x4xf16> layers 0:3
  llm.kernel @k_kv decode max_rows 8 row_strides [8, 8] {
  ^bb0(%k: tensor<?x8xf32>, %v: tensor<?x8xf32>, %rows: !llm.rows):
    llm.kv_write %k, %v, %rows, @kv : tensor<?x8xf32>, tensor<?x8xf32>
    llm.yield
  }
  llm.schedule @s decode max_rows 8 max_logits_rows 1 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
    llm.buffer @h offset 0 rows 8 width 8 row_stride 8
    llm.repeat first_layer 0 num_layers 3 {
      // expected-error@+1 {{'llm.phase' op has #llm.operand<write keys @h>, but the model has no such state}}
      llm.phase @k_kv tiles 1 rows_per_tile 1 [#llm.operand<read arena @h>, #llm.operand<read arena @h>, #llm.operand<read input @pos>, #llm.operand<read input @seq>, #llm.operand<read block_table @kv>, #llm.operand<write keys @h>, #llm.operand<write values @kv>]
    }
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.state @kv : !llm.kv<2x4xf16> layers 0:3
  llm.state @other : !llm.kv<2x4xf32> layers 0:3
  llm.kernel @k_kv decode max_rows 8 row_strides [8, 8] {
  ^bb0(%k: tensor<?x8xf32>, %v: tensor<?x8xf32>, %rows: !llm.rows):
    llm.kv_write %k, %v, %rows, @kv : tensor<?x8xf32>, tensor<?x8xf32>
    llm.yield
  }
  llm.schedule @s decode max_rows 8 max_logits_rows 1 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
    llm.buffer @h offset 0 rows 8 width 8 row_stride 8
    llm.repeat first_layer 0 num_layers 3 {
      // expected-error@+1 {{'llm.phase' op has #llm.operand<write keys @other>, whose type or window is not that of @kv, which its kernel takes}}
      llm.phase @k_kv tiles 1 rows_per_tile 1 [#llm.operand<read arena @h>, #llm.operand<read arena @h>, #llm.operand<read input @pos>, #llm.operand<read input @seq>, #llm.operand<read block_table @kv>, #llm.operand<write keys @other>, #llm.operand<write values @kv>]
    }
  }
}

// -----

// Who writes does not mind how long is looked back; who reads does.
llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.state @kv : !llm.kv<2x4xf16> layers 0:3
  llm.state @other : !llm.kv<2x4xf16> window 5 layers 0:3
  llm.kernel @k_kv decode max_rows 8 row_strides [8, 8] {
  ^bb0(%k: tensor<?x8xf32>, %v: tensor<?x8xf32>, %rows: !llm.rows):
    llm.kv_write %k, %v, %rows, @kv : tensor<?x8xf32>, tensor<?x8xf32>
    llm.yield
  }
  llm.kernel @k_attention decode max_rows 8 row_strides [16, 16] {
  ^bb0(%q: tensor<?x16xf32>, %rows: !llm.rows):
    %y = llm.attention %q, %rows, @kv scale 0.5 : tensor<?x16xf32> -> tensor<?x16xf32>
    llm.yield %y : tensor<?x16xf32>
  }
  llm.schedule @s decode max_rows 8 max_logits_rows 1 arena_bytes 1408 logits @logits {
    llm.buffer @q offset 0 rows 8 width 16 row_stride 16
    llm.buffer @y offset 512 rows 8 width 16 row_stride 16
    llm.buffer @logits offset 1024 rows 1 width 20 row_stride 20
    llm.buffer @h offset 1152 rows 8 width 8 row_stride 8
    llm.repeat first_layer 0 num_layers 3 {
      llm.phase @k_kv tiles 1 rows_per_tile 1 [#llm.operand<read arena @h>, #llm.operand<read arena @h>, #llm.operand<read input @pos>, #llm.operand<read input @seq>, #llm.operand<read block_table @other>, #llm.operand<write keys @other>, #llm.operand<write values @other>]
      // expected-error@+1 {{'llm.phase' op has #llm.operand<read keys @other>, whose type or window is not that of @kv, which its kernel takes}}
      llm.phase @k_attention tiles 2 rows_per_tile 1 [#llm.operand<read arena @q>, #llm.operand<read input @pos>, #llm.operand<read input @seq>, #llm.operand<read block_table @other>, #llm.operand<read keys @other>, #llm.operand<read values @other>, #llm.operand<write arena @y>]
    }
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.state @kv : !llm.kv<2x4xf16> layers 0:3
  llm.state @delta : !llm.recurrent<4x8xf32> layers 0:3
  llm.kernel @k_kv decode max_rows 8 row_strides [8, 8] {
  ^bb0(%k: tensor<?x8xf32>, %v: tensor<?x8xf32>, %rows: !llm.rows):
    llm.kv_write %k, %v, %rows, @kv : tensor<?x8xf32>, tensor<?x8xf32>
    llm.yield
  }
  llm.schedule @s decode max_rows 8 max_logits_rows 1 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
    llm.buffer @h offset 0 rows 8 width 8 row_stride 8
    llm.repeat first_layer 0 num_layers 3 {
      // expected-error@+1 {{'llm.phase' op has #llm.operand<write values @delta>, whose type or window is not that of @kv, which its kernel takes}}
      llm.phase @k_kv tiles 1 rows_per_tile 1 [#llm.operand<read arena @h>, #llm.operand<read arena @h>, #llm.operand<read input @pos>, #llm.operand<read input @seq>, #llm.operand<read block_table @kv>, #llm.operand<write keys @kv>, #llm.operand<write values @delta>]
    }
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.state @kv : !llm.kv<2x4xf16> layers 0:1, 2:3
  llm.kernel @k_kv decode max_rows 8 row_strides [8, 8] {
  ^bb0(%k: tensor<?x8xf32>, %v: tensor<?x8xf32>, %rows: !llm.rows):
    llm.kv_write %k, %v, %rows, @kv : tensor<?x8xf32>, tensor<?x8xf32>
    llm.yield
  }
  llm.schedule @s decode max_rows 8 max_logits_rows 1 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
    llm.buffer @h offset 0 rows 8 width 8 row_stride 8
    llm.repeat first_layer 0 num_layers 3 {
      // expected-error@+1 {{'llm.phase' op runs in layers 0 to 2, not all of which have #llm.operand<read block_table @kv>}}
      llm.phase @k_kv tiles 1 rows_per_tile 1 [#llm.operand<read arena @h>, #llm.operand<read arena @h>, #llm.operand<read input @pos>, #llm.operand<read input @seq>, #llm.operand<read block_table @kv>, #llm.operand<write keys @kv>, #llm.operand<write values @kv>]
    }
  }
}
