// Every message about steps of multi-token prediction, each with the smallest IR that earns it.
// RUN: llmc-opt %s --split-input-file --verify-diagnostics

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 2 num_kv_heads 1 head_dim 4 num_layers 2 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  // expected-error@+1 {{'llm.entry' op decodes 17 rows: at most 16}}
  llm.entry @g(%rows: !llm.rows) mtp max_rows 17 {
    %x = llm.hidden %rows : tensor<?x8xf32>
    %l = llm.logits %x, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 2 num_kv_heads 1 head_dim 4 num_layers 2 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.entry @d(%rows: !llm.rows) decode max_rows 8 {
    // expected-error@+1 {{'llm.hidden' op is of steps of kind mtp, not decode}}
    %x = llm.hidden %rows : tensor<?x8xf32>
    %l = llm.logits %x, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 2 num_kv_heads 1 head_dim 4 num_layers 2 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @head matrix "e" : tensor<20x4xf32>
  llm.entry @g(%rows: !llm.rows) mtp max_rows 8 {
    // expected-error@+1 {{'llm.hidden' op gives rows of 4, but hidden_size is 8}}
    %x = llm.hidden %rows : tensor<?x4xf32>
    %l = llm.logits %x, %rows, @head : tensor<?x4xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 2 num_kv_heads 1 head_dim 4 num_layers 2 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  // expected-error@+1 {{'llm.entry' op returns hidden rows of 20, but hidden_size is 8}}
  llm.entry @g(%rows: !llm.rows) mtp max_rows 8 {
    %x = llm.hidden %rows : tensor<?x8xf32>
    %l = llm.logits %x, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l, %l : tensor<?x20xf32>, tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 2 num_kv_heads 1 head_dim 4 num_layers 2 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.entry @g(%rows: !llm.rows) mtp max_rows 8 {
    %x = llm.hidden %rows : tensor<?x8xf32>
    %l = llm.logits %x, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    // expected-error@+1 {{'llm.return' op returns 3 values: logits and hidden rows}}
    llm.return %l, %x, %x : tensor<?x20xf32>, tensor<?x8xf32>, tensor<?x8xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 2 num_kv_heads 1 head_dim 4 num_layers 2 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  // expected-error@+1 {{'llm.entry' op runs 2 layers, but the MTP block has 1}}
  llm.entry @g(%rows: !llm.rows) mtp max_rows 8 {
    %x = llm.hidden %rows : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x8xf32> {
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 2 num_kv_heads 1 head_dim 4 num_layers 2 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.state' op is the MTP block's, but keeps no tokens}}
  llm.state @s : !llm.recurrent<3x8xf32> mtp layers 0:1
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 2 num_kv_heads 1 head_dim 4 num_layers 2 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.schedule' op has its hidden rows in @l, which is no buffer of 8x8}}
  llm.schedule @s mtp max_rows 8 max_logits_rows 8 arena_bytes 1024 logits @l hidden @l {
    llm.buffer @l offset 0 rows 8 width 20 row_stride 32
  }
}
