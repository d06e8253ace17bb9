// The messages of linear attention, each with the smallest IR that earns it: a kernel names weights and states as an
// entry does.
// RUN: llmc-opt %s --split-input-file --verify-diagnostics

llm.model @m architecture "x" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @w matrix "w" : tensor<4x8xf32>
  llm.state @s : !llm.recurrent<3x8xf32> layers 0:3
  llm.kernel @k decode max_rows 8 row_strides [16, 16] {
  ^bb0(%x: tensor<?x8xf32>, %rows: !llm.rows):
    // expected-error@+1 {{'llm.causal_conv' op names the state @missing, which the model lacks}}
    %y = llm.causal_conv %x, %rows, @missing, @w silu : tensor<?x8xf32>
    llm.yield %y : tensor<?x8xf32>
  }
}

// -----

llm.model @m architecture "x" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @w matrix "w" : tensor<4x8xf32>
  llm.state @s : !llm.kv<2x4xf16> layers 0:3
  llm.kernel @k decode max_rows 8 row_strides [16, 16] {
  ^bb0(%x: tensor<?x8xf32>, %rows: !llm.rows):
    // expected-error@+1 {{'llm.causal_conv' op needs a recurrent state of 2 dimensions in f32, but @s is a '!llm.kv<2x4xf16>'}}
    %y = llm.causal_conv %x, %rows, @s, @w silu : tensor<?x8xf32>
    llm.yield %y : tensor<?x8xf32>
  }
}

// -----

llm.model @m architecture "x" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @w matrix "w" : tensor<4x8xf32>
  llm.state @s : !llm.recurrent<3x8xbf16> layers 0:3
  llm.kernel @k decode max_rows 8 row_strides [16, 16] {
  ^bb0(%x: tensor<?x8xf32>, %rows: !llm.rows):
    // expected-error@+1 {{'llm.causal_conv' op needs a recurrent state of 2 dimensions in f32, but @s is a '!llm.recurrent<3x8xbf16>'}}
    %y = llm.causal_conv %x, %rows, @s, @w silu : tensor<?x8xf32>
    llm.yield %y : tensor<?x8xf32>
  }
}

// -----

llm.model @m architecture "x" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @w matrix "w" : tensor<4x8xf32>
  llm.state @s : !llm.recurrent<3x2x4xf32> layers 0:3
  llm.kernel @k decode max_rows 8 row_strides [16, 16] {
  ^bb0(%x: tensor<?x8xf32>, %rows: !llm.rows):
    // expected-error@+1 {{'llm.causal_conv' op needs a recurrent state of 2 dimensions in f32, but @s is a '!llm.recurrent<3x2x4xf32>'}}
    %y = llm.causal_conv %x, %rows, @s, @w silu : tensor<?x8xf32>
    llm.yield %y : tensor<?x8xf32>
  }
}

// -----

llm.model @m architecture "x" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @w matrix "w" : tensor<4x8xf32>
  llm.state @s : !llm.recurrent<3x12xf32> layers 0:3
  llm.kernel @k decode max_rows 8 row_strides [16, 16] {
  ^bb0(%x: tensor<?x8xf32>, %rows: !llm.rows):
    // expected-error@+1 {{'llm.causal_conv' op has rows of 8, but @s keeps rows of 12}}
    %y = llm.causal_conv %x, %rows, @s, @w silu : tensor<?x8xf32>
    llm.yield %y : tensor<?x8xf32>
  }
}

// -----

llm.model @m architecture "x" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @w matrix "w" : tensor<3x8xf32>
  llm.state @s : !llm.recurrent<3x8xf32> layers 0:3
  llm.kernel @k decode max_rows 8 row_strides [16, 16] {
  ^bb0(%x: tensor<?x8xf32>, %rows: !llm.rows):
    // expected-error@+1 {{'llm.causal_conv' op needs @w to be 4x8, but it is 3x8}}
    %y = llm.causal_conv %x, %rows, @s, @w silu : tensor<?x8xf32>
    llm.yield %y : tensor<?x8xf32>
  }
}

// -----

llm.model @m architecture "x" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @w bias "w" : tensor<8xf32>
  llm.state @s : !llm.recurrent<3x8xf32> layers 0:3
  llm.kernel @k decode max_rows 8 row_strides [16, 16] {
  ^bb0(%x: tensor<?x8xf32>, %rows: !llm.rows):
    // expected-error@+1 {{'llm.causal_conv' op needs a matrix, but @w is a bias}}
    %y = llm.causal_conv %x, %rows, @s, @w silu : tensor<?x8xf32>
    llm.yield %y : tensor<?x8xf32>
  }
}

// -----

llm.model @m architecture "x" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @a_log bias "a" : tensor<4xf32>
  llm.weight @dt_bias bias "b" : tensor<4xf32>
  llm.state @s : !llm.recurrent<4x32xf32> layers 0:3
  llm.kernel @k decode max_rows 8 row_strides [64, 16, 16, 32] {
  ^bb0(%qkv: tensor<?x48xf32>, %gate: tensor<?x4xf32>, %beta: tensor<?x4xf32>, %rows: !llm.rows):
    // expected-error@+1 {{'llm.gated_delta' op needs a recurrent state of 3 dimensions in f32, but @s is a '!llm.recurrent<4x32xf32>'}}
    %y = llm.gated_delta %qkv, %gate, %beta, %rows, @s, @a_log, @dt_bias eps 1.0e-6 : tensor<?x48xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
    llm.yield %y : tensor<?x32xf32>
  }
}

// -----

llm.model @m architecture "x" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @a_log bias "a" : tensor<4xf32>
  llm.weight @dt_bias bias "b" : tensor<4xf32>
  llm.state @s : !llm.recurrent<4x4x8xf32> layers 0:3
  llm.kernel @k decode max_rows 8 row_strides [64, 16, 16, 32] {
  ^bb0(%qkv: tensor<?x48xf32>, %gate: tensor<?x4xf32>, %beta: tensor<?x4xf32>, %rows: !llm.rows):
    // expected-error@+1 {{'llm.gated_delta' op has eps -1.000000e+00: it must be finite and not negative}}
    %y = llm.gated_delta %qkv, %gate, %beta, %rows, @s, @a_log, @dt_bias eps -1.0 : tensor<?x48xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
    llm.yield %y : tensor<?x32xf32>
  }
}

// -----

llm.model @m architecture "x" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @a_log bias "a" : tensor<4xf32>
  llm.weight @dt_bias bias "b" : tensor<4xf32>
  llm.state @s : !llm.recurrent<4x4x8xf32> layers 0:3
  llm.kernel @k decode max_rows 8 row_strides [64, 16, 16, 32] {
  ^bb0(%qkv: tensor<?x55xf32>, %gate: tensor<?x4xf32>, %beta: tensor<?x4xf32>, %rows: !llm.rows):
    // expected-error@+1 {{'llm.gated_delta' op has rows of 55 for q, k and v: with 4 heads of v of 8, what is left must be two times a divisor of them times 4}}
    %y = llm.gated_delta %qkv, %gate, %beta, %rows, @s, @a_log, @dt_bias eps 1.0e-6 : tensor<?x55xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
    llm.yield %y : tensor<?x32xf32>
  }
}

// -----

llm.model @m architecture "x" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @a_log bias "a" : tensor<4xf32>
  llm.weight @dt_bias bias "b" : tensor<4xf32>
  llm.state @s : !llm.recurrent<4x4x8xf32> layers 0:3
  // Three heads of q and k, which four heads of v cannot share evenly.
  llm.kernel @k decode max_rows 8 row_strides [64, 16, 16, 32] {
  ^bb0(%qkv: tensor<?x56xf32>, %gate: tensor<?x4xf32>, %beta: tensor<?x4xf32>, %rows: !llm.rows):
    // expected-error@+1 {{'llm.gated_delta' op has rows of 56 for q, k and v: with 4 heads of v of 8, what is left must be two times a divisor of them times 4}}
    %y = llm.gated_delta %qkv, %gate, %beta, %rows, @s, @a_log, @dt_bias eps 1.0e-6 : tensor<?x56xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
    llm.yield %y : tensor<?x32xf32>
  }
}

// -----

llm.model @m architecture "x" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @a_log bias "a" : tensor<4xf32>
  llm.weight @dt_bias bias "b" : tensor<4xf32>
  llm.state @s : !llm.recurrent<4x4x8xf32> layers 0:3
  llm.kernel @k decode max_rows 8 row_strides [64, 16, 16, 32] {
  ^bb0(%qkv: tensor<?x32xf32>, %gate: tensor<?x4xf32>, %beta: tensor<?x4xf32>, %rows: !llm.rows):
    // expected-error@+1 {{'llm.gated_delta' op has rows of 32 for q, k and v: with 4 heads of v of 8, what is left must be two times a divisor of them times 4}}
    %y = llm.gated_delta %qkv, %gate, %beta, %rows, @s, @a_log, @dt_bias eps 1.0e-6 : tensor<?x32xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
    llm.yield %y : tensor<?x32xf32>
  }
}

// -----

llm.model @m architecture "x" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @a_log bias "a" : tensor<4xf32>
  llm.weight @dt_bias bias "b" : tensor<4xf32>
  llm.state @s : !llm.recurrent<4x4x8xf32> layers 0:3
  llm.kernel @k decode max_rows 8 row_strides [64, 16, 16, 32] {
  ^bb0(%qkv: tensor<?x8xf32>, %gate: tensor<?x4xf32>, %beta: tensor<?x4xf32>, %rows: !llm.rows):
    // expected-error@+1 {{'llm.gated_delta' op has rows of 8 for q, k and v: with 4 heads of v of 8, what is left must be two times a divisor of them times 4}}
    %y = llm.gated_delta %qkv, %gate, %beta, %rows, @s, @a_log, @dt_bias eps 1.0e-6 : tensor<?x8xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
    llm.yield %y : tensor<?x32xf32>
  }
}

// -----

llm.model @m architecture "x" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @a_log bias "a" : tensor<4xf32>
  llm.weight @dt_bias bias "b" : tensor<4xf32>
  llm.state @s : !llm.recurrent<4x4x8xf32> layers 0:3
  llm.kernel @k decode max_rows 8 row_strides [64, 16, 16, 32] {
  ^bb0(%qkv: tensor<?x48xf32>, %gate: tensor<?x5xf32>, %beta: tensor<?x5xf32>, %rows: !llm.rows):
    // expected-error@+1 {{'llm.gated_delta' op has gates of 5, but @s has 4 heads}}
    %y = llm.gated_delta %qkv, %gate, %beta, %rows, @s, @a_log, @dt_bias eps 1.0e-6 : tensor<?x48xf32>, tensor<?x5xf32> -> tensor<?x32xf32>
    llm.yield %y : tensor<?x32xf32>
  }
}

// -----

llm.model @m architecture "x" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @a_log bias "a" : tensor<4xf32>
  llm.weight @dt_bias bias "b" : tensor<4xf32>
  llm.state @s : !llm.recurrent<4x4x8xf32> layers 0:3
  llm.kernel @k decode max_rows 8 row_strides [64, 16, 16, 32] {
  ^bb0(%qkv: tensor<?x48xf32>, %gate: tensor<?x4xf32>, %beta: tensor<?x4xf32>, %rows: !llm.rows):
    // expected-error@+1 {{'llm.gated_delta' op gives rows of 16, but 4 heads have values of 8}}
    %y = llm.gated_delta %qkv, %gate, %beta, %rows, @s, @a_log, @dt_bias eps 1.0e-6 : tensor<?x48xf32>, tensor<?x4xf32> -> tensor<?x16xf32>
    llm.yield %y : tensor<?x16xf32>
  }
}

// -----

llm.model @m architecture "x" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @a_log bias "a" : tensor<5xf32>
  llm.weight @dt_bias bias "b" : tensor<4xf32>
  llm.state @s : !llm.recurrent<4x4x8xf32> layers 0:3
  llm.kernel @k decode max_rows 8 row_strides [64, 16, 16, 32] {
  ^bb0(%qkv: tensor<?x48xf32>, %gate: tensor<?x4xf32>, %beta: tensor<?x4xf32>, %rows: !llm.rows):
    // expected-error@+1 {{'llm.gated_delta' op needs @a_log to be 4, but it is 5}}
    %y = llm.gated_delta %qkv, %gate, %beta, %rows, @s, @a_log, @dt_bias eps 1.0e-6 : tensor<?x48xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
    llm.yield %y : tensor<?x32xf32>
  }
}

// -----

llm.model @m architecture "x" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @a_log norm "a" : tensor<4xf32>
  llm.weight @dt_bias bias "b" : tensor<4xf32>
  llm.state @s : !llm.recurrent<4x4x8xf32> layers 0:3
  llm.kernel @k decode max_rows 8 row_strides [64, 16, 16, 32] {
  ^bb0(%qkv: tensor<?x48xf32>, %gate: tensor<?x4xf32>, %beta: tensor<?x4xf32>, %rows: !llm.rows):
    // expected-error@+1 {{'llm.gated_delta' op needs a bias, but @a_log is a norm}}
    %y = llm.gated_delta %qkv, %gate, %beta, %rows, @s, @a_log, @dt_bias eps 1.0e-6 : tensor<?x48xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
    llm.yield %y : tensor<?x32xf32>
  }
}

// -----

llm.model @m architecture "x" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @a_log bias "a" : tensor<4xf32>
  llm.weight @dt_bias bias "b" : tensor<8xf32>
  llm.state @s : !llm.recurrent<4x4x8xf32> layers 0:3
  llm.kernel @k decode max_rows 8 row_strides [64, 16, 16, 32] {
  ^bb0(%qkv: tensor<?x48xf32>, %gate: tensor<?x4xf32>, %beta: tensor<?x4xf32>, %rows: !llm.rows):
    // expected-error@+1 {{'llm.gated_delta' op needs @dt_bias to be 4, but it is 8}}
    %y = llm.gated_delta %qkv, %gate, %beta, %rows, @s, @a_log, @dt_bias eps 1.0e-6 : tensor<?x48xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
    llm.yield %y : tensor<?x32xf32>
  }
}

// -----

llm.model @m architecture "x" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @w matrix "w" : tensor<4x8xf32>
  llm.state @s : !llm.recurrent<3x8xf32> layers 0:3
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    // expected-error@+1 {{'llm.causal_conv' op uses the state @s outside llm.layers}}
    %c = llm.causal_conv %x, %rows, @s, @w silu : tensor<?x8xf32>
    %y = llm.layers %h = %c first 0 count 3 : tensor<?x8xf32> {
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "x" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @w matrix "w" : tensor<4x8xf32>
  llm.state @s : !llm.recurrent<3x8xf32> layers 0:2
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.causal_conv' op runs in layers 0 to 2, not all of which have the state @s}}
      %c = llm.causal_conv %h, %rows, @s, @w silu : tensor<?x8xf32>
      llm.yield %c : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "x" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @w matrix "w" : tensor<4x8xf32>
  llm.weight @b bias "b" : tensor<6xf32>
  llm.state @s : !llm.recurrent<3x8xf32> layers 0:3
  llm.kernel @k decode max_rows 8 row_strides [16, 16, 16] {
  ^bb0(%x: tensor<?x8xf32>, %rows: !llm.rows, %g: tensor<?x6xf32>):
    // expected-error@+1 {{'llm.causal_conv' op multiplies rows of 8 by gates of 6}}
    %y = llm.causal_conv %x, %rows, @s, @w none times %g : tensor<?x8xf32>, tensor<?x6xf32>
    llm.yield %y : tensor<?x8xf32>
  }
}

// -----

llm.model @m architecture "x" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @w matrix "w" : tensor<4x8xf32>
  llm.weight @b bias "b" : tensor<6xf32>
  llm.state @s : !llm.recurrent<3x8xf32> layers 0:3
  llm.kernel @k decode max_rows 8 row_strides [16, 16, 16] {
  ^bb0(%x: tensor<?x8xf32>, %rows: !llm.rows, %g: tensor<?x8xf32>):
    // expected-error@+1 {{'llm.causal_conv' op needs @b to be 8, but it is 6}}
    %y = llm.causal_conv %x, %rows, @s, @w bias @b none times %g : tensor<?x8xf32>, tensor<?x8xf32>
    llm.yield %y : tensor<?x8xf32>
  }
}

// -----

llm.model @m architecture "x" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @a bias "a" : tensor<4xf32>
  llm.weight @short bias "short" : tensor<3xf32>
  llm.state @s : !llm.recurrent<4x5x8xf32> layers 0:3
  llm.kernel @k decode max_rows 8 row_strides [64, 16, 48] {
  ^bb0(%x: tensor<?x53xf32>, %dt: tensor<?x4xf32>, %rows: !llm.rows):
    // expected-error@+1 {{'llm.ssd' op has rows of 53 for x, B and C: with 4 heads of 8, what is left must be two times a divisor of them times 5}}
    %y = llm.ssd %x, %dt, %rows, @s, @a, @a, @a : tensor<?x53xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
    llm.yield %y : tensor<?x32xf32>
  }
}

// -----

llm.model @m architecture "x" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @a bias "a" : tensor<4xf32>
  llm.weight @short bias "short" : tensor<3xf32>
  llm.state @s : !llm.recurrent<4x5x8xf32> layers 0:3
  llm.kernel @k decode max_rows 8 row_strides [64, 16, 48] {
  ^bb0(%x: tensor<?x62xf32>, %dt: tensor<?x4xf32>, %rows: !llm.rows):
    // expected-error@+1 {{'llm.ssd' op has rows of 62 for x, B and C: with 4 heads of 8, what is left must be two times a divisor of them times 5}}
    %y = llm.ssd %x, %dt, %rows, @s, @a, @a, @a : tensor<?x62xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
    llm.yield %y : tensor<?x32xf32>
  }
}

// -----

llm.model @m architecture "x" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @a bias "a" : tensor<4xf32>
  llm.weight @short bias "short" : tensor<3xf32>
  llm.state @s : !llm.recurrent<4x5x8xf32> layers 0:3
  llm.kernel @k decode max_rows 8 row_strides [64, 16, 48] {
  ^bb0(%x: tensor<?x32xf32>, %dt: tensor<?x4xf32>, %rows: !llm.rows):
    // expected-error@+1 {{'llm.ssd' op has rows of 32 for x, B and C: with 4 heads of 8, what is left must be two times a divisor of them times 5}}
    %y = llm.ssd %x, %dt, %rows, @s, @a, @a, @a : tensor<?x32xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
    llm.yield %y : tensor<?x32xf32>
  }
}

// -----

llm.model @m architecture "x" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @a bias "a" : tensor<4xf32>
  llm.weight @short bias "short" : tensor<3xf32>
  llm.state @s : !llm.recurrent<4x5x8xf32> layers 0:3
  llm.kernel @k decode max_rows 8 row_strides [64, 16, 48] {
  ^bb0(%x: tensor<?x52xf32>, %dt: tensor<?x5xf32>, %rows: !llm.rows):
    // expected-error@+1 {{'llm.ssd' op has time steps of 5, but @s has 4 heads}}
    %y = llm.ssd %x, %dt, %rows, @s, @a, @a, @a : tensor<?x52xf32>, tensor<?x5xf32> -> tensor<?x32xf32>
    llm.yield %y : tensor<?x32xf32>
  }
}

// -----

llm.model @m architecture "x" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @a bias "a" : tensor<4xf32>
  llm.weight @short bias "short" : tensor<3xf32>
  llm.state @s : !llm.recurrent<4x5x8xf32> layers 0:3
  llm.kernel @k decode max_rows 8 row_strides [64, 16, 48] {
  ^bb0(%x: tensor<?x52xf32>, %dt: tensor<?x4xf32>, %rows: !llm.rows):
    // expected-error@+1 {{'llm.ssd' op gives rows of 16, but there are 4 heads of 8}}
    %y = llm.ssd %x, %dt, %rows, @s, @a, @a, @a : tensor<?x52xf32>, tensor<?x4xf32> -> tensor<?x16xf32>
    llm.yield %y : tensor<?x16xf32>
  }
}

// -----

llm.model @m architecture "x" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @a bias "a" : tensor<4xf32>
  llm.weight @short bias "short" : tensor<3xf32>
  llm.state @s : !llm.recurrent<4x5x8xf32> layers 0:3
  llm.kernel @k decode max_rows 8 row_strides [64, 16, 48] {
  ^bb0(%x: tensor<?x52xf32>, %dt: tensor<?x4xf32>, %rows: !llm.rows):
    // expected-error@+1 {{'llm.ssd' op has time steps from 2.000000e+00 to 1.000000e+00: they must be finite, not negative and ascending}}
    %y = llm.ssd %x, %dt, %rows, @s, @a, @a, @a from 2.0 to 1.0 : tensor<?x52xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
    llm.yield %y : tensor<?x32xf32>
  }
}

// -----

llm.model @m architecture "x" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @a bias "a" : tensor<4xf32>
  llm.weight @short bias "short" : tensor<3xf32>
  llm.state @s : !llm.recurrent<4x5x8xf32> layers 0:3
  llm.kernel @k decode max_rows 8 row_strides [64, 16, 48] {
  ^bb0(%x: tensor<?x52xf32>, %dt: tensor<?x4xf32>, %rows: !llm.rows):
    // expected-error@+1 {{'llm.ssd' op needs @short to be 4, but it is 3}}
    %y = llm.ssd %x, %dt, %rows, @s, @a, @a, @short : tensor<?x52xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
    llm.yield %y : tensor<?x32xf32>
  }
}
