// The messages of what llama does without, each with the smallest IR that earns it.
// RUN: llmc-opt %s --split-input-file --verify-diagnostics

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      %r = llm.route %h top_k 3 softmax : tensor<?x8xf32> -> tensor<?x6xf32>
      // expected-error@+1 {{'llm.scale_rows' op scales rows of 8 by rows of 6, which does not divide them}}
      %0 = llm.scale_rows %h, %r : tensor<?x8xf32>, tensor<?x6xf32>
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
      // expected-error@+1 {{'llm.concat' op has rows of 8 for 3 heads}}
      %0 = llm.concat %h, %h heads 3 : tensor<?x8xf32>, tensor<?x8xf32> -> tensor<?x16xf32>
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
      // expected-error@+1 {{'llm.concat' op gives rows of 12 from 8 and 8}}
      %0 = llm.concat %h, %h heads 2 : tensor<?x8xf32>, tensor<?x8xf32> -> tensor<?x12xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @n norm "{layer}.n" : tensor<3x4xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.qk_norm' op has rows of 8: not a multiple of head_dim 3}}
      %0 = llm.qk_norm %h, @n eps 1.0e-5 head_dim 3 : tensor<?x8xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @n norm "{layer}.n" : tensor<3x4xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.qk_norm' op needs @n to be 2, but it is 4}}
      %0 = llm.qk_norm %h, @n eps 1.0e-5 head_dim 2 : tensor<?x8xf32>
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
      // expected-error@+1 {{'llm.layer_norm' op has eps -1.000000e+00: it must be finite and not negative}}
      %0 = llm.layer_norm %h eps -1.0 : tensor<?x8xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @w matrix "{layer}.w" : tensor<3x12x8xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.head_linear' op needs @w to be 12x4, but it is 12x8}}
      %0 = llm.head_linear %h, @w heads 2 : tensor<?x8xf32> -> tensor<?x12xf32>
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
      // expected-error@+1 {{'llm.route' op chooses 9 of 8 experts}}
      %0 = llm.route %h top_k 9 softmax : tensor<?x8xf32> -> tensor<?x18xf32>
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
      // expected-error@+1 {{'llm.route' op gives rows of 5: 2 experts and their weights are 4}}
      %0 = llm.route %h top_k 2 softmax : tensor<?x8xf32> -> tensor<?x5xf32>
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
      // expected-error@+1 {{'llm.route' op chooses 3 of the best 1 of 4 groups by their best 2, of 8 experts}}
      %0 = llm.route %h top_k 3 softmax groups 4 keep 1 top 2 : tensor<?x8xf32> -> tensor<?x6xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @w matrix "{layer}.w" : tensor<3x6x8xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      %r = llm.route %h top_k 2 softmax : tensor<?x8xf32> -> tensor<?x4xf32>
      // expected-error@+1 {{'llm.expert_glu' op needs @w of experts, but it has 0}}
      %0 = llm.expert_glu %h, %r proj @w, @w silu : tensor<?x8xf32>, tensor<?x4xf32> -> tensor<?x12xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @w matrix "{layer}.{expert}.w" experts 8 : tensor<3x8x16x8xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.linear' op needs @w of no expert, but it has 8}}
      %0 = llm.linear %h, @w : tensor<?x8xf32> -> tensor<?x16xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @w matrix "{layer}.{expert}.w" experts 8 : tensor<3x8x8x6xf32>
  llm.weight @r matrix "{layer}.r" : tensor<3x3x8xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      %r = llm.linear %h, @r : tensor<?x8xf32> -> tensor<?x3xf32>
      // expected-error@+1 {{'llm.expert_down' op has a route of 3 columns: experts and weights must be as many}}
      %0 = llm.expert_down %h, %r, @w : tensor<?x8xf32>, tensor<?x3xf32> -> tensor<?x8xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @s bias "{layer}.s" : tensor<3x3xf32>
  llm.state @kv : !llm.kv<2x4xf16> layers 0:3
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      llm.kv_write %h, %h, %rows, @kv : tensor<?x8xf32>, tensor<?x8xf32>
      // expected-error@+1 {{'llm.attention' op needs @s to be 2, but it is 3}}
      %0 = llm.attention %h, %rows, @kv scale 0.5 sinks @s : tensor<?x8xf32> -> tensor<?x8xf32>
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
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      llm.kv_write %h, %h, %rows, @kv : tensor<?x8xf32>, tensor<?x8xf32>
      // expected-error@+1 {{'llm.attention' op has softcap -1.000000e+00: it must be finite and not negative}}
      %0 = llm.attention %h, %rows, @kv scale 0.5 softcap -1.0 : tensor<?x8xf32> -> tensor<?x8xf32>
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
  llm.weight @b bias "{layer}.b" : tensor<3x8xf32>
  llm.weight @w matrix "{layer}.w" : tensor<3x12x8xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.norm_linear' op has the bias @b on an rms_norm}}
      %0 = llm.norm_linear %h norm @n shift @b eps 1.0e-5 proj @w silu : tensor<?x8xf32> -> tensor<?x12xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  // expected-error@+1 {{'llm.weight' op has the type 'tensor<3x8x6x8xf32>' and 4 experts}}
  llm.weight @w matrix "{layer}.w" experts 4 : tensor<3x8x6x8xf32>
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  // expected-error@+1 {{'llm.weight' op has a source that names an {expert}, but no experts}}
  llm.weight @w matrix "{layer}.{expert}.w" : tensor<3x6x8xf32>
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  // expected-error@+1 {{'llm.weight' op has a view that ends at element 63 of 56}}
  llm.weight @w matrix "{layer}.w" view <stored[7, 8] begin 16 run 6 outer 0 inner 8 col 1> : tensor<3x6x8xf32>
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  // expected-error@+1 {{'llm.weight' op has 6 rows in a view of runs of 4}}
  llm.weight @w matrix "{layer}.w" view <stored[8, 8] begin 0 run 4 outer 32 inner 8 col 1> : tensor<3x6x8xf32>
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  // expected-error@+1 {{'llm.weight' op has a view with pairs in 4 rows at 4 of 6}}
  llm.weight @w matrix "{layer}.w" view <stored[8, 8] begin 0 run 6 outer 0 inner 8 col 1 pairs 4 at 4> : tensor<3x6x8xf32>
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.kernel @k decode max_rows 4 row_strides [16, 16, 16] {
  ^bb0(%x: tensor<?x8xf32>, %by: tensor<?x0xf32>):
    // expected-error@+1 {{'llm.scale_rows' op scales rows of 8 by rows of 0, which does not divide them}}
    %y = llm.scale_rows %x, %by : tensor<?x8xf32>, tensor<?x0xf32>
    llm.yield %y : tensor<?x8xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  // expected-error@+1 {{'llm.rope_table' op has 1 frequencies above position 8: as many as the others above a position, or none}}
  llm.rope_table @rope [1.0, 0.5] above 8 [1.0]
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @w matrix "w{expert}" experts 8 : tensor<8x6x8xf32>
  llm.weight @b bias "b" experts 8 : tensor<8x6xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      %r = llm.route %h top_k 2 softmax : tensor<?x8xf32> -> tensor<?x4xf32>
      // expected-error@+1 {{'llm.expert_glu' op has a limit without a second matrix}}
      %0 = llm.expert_glu %h, %r proj @w silu limit 1.0 : tensor<?x8xf32>, tensor<?x4xf32> -> tensor<?x12xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @w matrix "w{expert}" experts 8 : tensor<8x6x8xf32>
  llm.weight @b bias "b" experts 8 : tensor<8x6xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      %r = llm.route %h top_k 2 softmax : tensor<?x8xf32> -> tensor<?x4xf32>
      // expected-error@+1 {{'llm.expert_glu' op has a bias of up without a second matrix}}
      %0 = llm.expert_glu %h, %r proj @w bias @b, @b silu : tensor<?x8xf32>, tensor<?x4xf32> -> tensor<?x12xf32>
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
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.scale_by' op needs @n to be 1, but it is 8}}
      %0 = llm.scale_by %h, @n : tensor<?x8xf32>
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
      // expected-error@+1 {{'llm.layer_slice' op takes rows of 2 from rows of 8: they must hold one for each of 3 layers}}
      %0 = llm.layer_slice %h : tensor<?x8xf32> -> tensor<?x2xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}
// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @w matrix "w" : tensor<20x24xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %p = llm.embed %rows, @w : tensor<?x24xf32>
    // expected-error@+1 {{'llm.layer_slice' op stands outside llm.layers, where there is no layer}}
    %0 = llm.layer_slice %p : tensor<?x24xf32> -> tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}
// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @n norm "{layer}.n" : tensor<3x5xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.route' op needs @n to be 8, but it is 5}}
      %0 = llm.route %h top_k 2 softmax expert_scale @n : tensor<?x8xf32> -> tensor<?x4xf32>
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
  llm.weight @q matrix "{layer}.q" : tensor<3x16x8xf32>
  llm.state @kv : !llm.kv<2x4xf32> layers 1:2
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.norm_qkv' op runs in layers 0 to 2, not all of which have the state @kv}}
      %0 = llm.norm_qkv %h, %rows, @kv norm @n eps 1.0e-5 proj @q : tensor<?x8xf32> -> tensor<?x16xf32>
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
  llm.weight @q matrix "{layer}.q" : tensor<3x16x8xf32>
  llm.state @kv : !llm.kv<2x4xf32> layers 0:3
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.norm_qkv' op has a v_norm and no values}}
      %0 = llm.norm_qkv %h, %rows, @kv norm @n eps 1.0e-5 proj @q eps 1.0e-5 v_norm : tensor<?x8xf32> -> tensor<?x16xf32>
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
  llm.weight @w matrix "{layer}.w" : tensor<3x12x8xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.norm_linear' op gates rows of 8 by rows of 12}}
      %0 = llm.norm_linear %h norm @n eps 1.0e-5 proj @w silu times %h : tensor<?x8xf32>, tensor<?x8xf32> -> tensor<?x12xf32>
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
  llm.weight @w matrix "{layer}.w" : tensor<3x12x8xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.norm_projections' op has 0 projections: there must be 1 to 6}}
      %0 = llm.norm_projections %h norm @n eps 1.0e-5 proj [] : tensor<?x8xf32> -> tensor<?x12xf32>
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
  llm.weight @w matrix "{layer}.w" : tensor<3x12x8xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.norm_projections' op gives 1 results of 2 projections}}
      %0 = llm.norm_projections %h norm @n eps 1.0e-5 proj [#llm.projection<@w>, #llm.projection<@w>] : tensor<?x8xf32> -> tensor<?x12xf32>
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
  llm.weight @w matrix "{layer}.w" : tensor<3x12x8xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.norm_projections' op needs @w to be 8x8, but it is 12x8}}
      %0 = llm.norm_projections %h norm @n eps 1.0e-5 proj [#llm.projection<@w>] : tensor<?x8xf32> -> tensor<?x8xf32>
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
  llm.weight @w matrix "{layer}.w" : tensor<3x12x8xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.scale_by_pos' op grows every 0 positions: it must be positive}}
      %0 = llm.scale_by_pos %h, %rows growth 0.1 every 0 : tensor<?x8xf32>
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
  llm.weight @w matrix "{layer}.w" : tensor<3x12x8xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.scale_by_pos' op has growth -1.000000e-01: it must be finite and not negative}}
      %0 = llm.scale_by_pos %h, %rows growth -0.1 every 8 : tensor<?x8xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}
