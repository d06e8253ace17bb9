// Every message of VerifyCompute.cpp but those about states, each with the smallest IR that earns it.
// RUN: llmc-opt %s --split-input-file --verify-diagnostics

//===-- compute ops: weights --===//

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.linear' op names the weight @missing, which the model lacks}}
      %0 = llm.linear %h, @missing : tensor<?x8xf32> -> tensor<?x16xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @norm norm "n" : tensor<8xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.linear' op needs a matrix, but @norm is a norm}}
      %0 = llm.linear %h, @norm : tensor<?x8xf32> -> tensor<?x16xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @q_proj matrix "{layer}.q" : tensor<3x16x8xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.linear' op needs @q_proj to be 12x8, but it is 16x8}}
      %0 = llm.linear %h, @q_proj : tensor<?x8xf32> -> tensor<?x12xf32>
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
    // expected-error@+1 {{'llm.embed' op needs @embed_tokens to be 20x16, but it is 20x8}}
    %x = llm.embed %rows, @embed_tokens : tensor<?x16xf32>
    %y = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @input_norm norm "{layer}.n" : tensor<3x8xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    // expected-error@+1 {{'llm.rms_norm' op uses @input_norm, which every layer has, outside llm.layers}}
    %n = llm.rms_norm %x, @input_norm eps 1.0e-5 : tensor<?x8xf32>
    %l = llm.logits %n, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @late matrix "{layer}.w" first_layer 1 : tensor<2x8x8xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.linear' op runs in layers 0 to 2, but @late has layers 1 to 2}}
      %0 = llm.linear %h, @late : tensor<?x8xf32> -> tensor<?x8xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @norm norm "n" : tensor<8xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.rms_norm' op has eps -1.000000e+00: it must be finite and not negative}}
      %0 = llm.rms_norm %h, @norm eps -1.0 : tensor<?x8xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @q_bias bias "{layer}.qb" : tensor<3x16xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.bias' op needs @q_bias to be 8, but it is 16}}
      %0 = llm.bias %h, @q_bias : tensor<?x8xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @q_proj matrix "{layer}.q" : tensor<3x16x8xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      %0 = llm.linear %h, @q_proj : tensor<?x8xf32> -> tensor<?x16xf32>
      // expected-error@+1 {{'llm.mul' op failed to verify that all of {a, b, y} have same type}}
      %1 = "llm.mul"(%h, %0) : (tensor<?x8xf32>, tensor<?x16xf32>) -> tensor<?x8xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.add' op expects parent op to be one of 'llm.entry, llm.layers, llm.kernel'}}
  %0 = "llm.add"(%1, %1) : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %1 = "llm.add"(%0, %0) : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
}

// -----

//===-- rope --===//

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.rope_table @rope [1.0, 0.25]
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.rope' op has head_dim 3: it must be positive and even}}
      %0 = llm.rope %h, %rows, @rope head_dim 3 : tensor<?x8xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.rope_table @rope [1.0, 0.25]
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.rope' op has rows of 8: not a multiple of head_dim 6}}
      %0 = llm.rope %h, %rows, @rope head_dim 6 : tensor<?x8xf32>
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
      // expected-error@+1 {{'llm.rope' op names the rope table @missing, which the model lacks}}
      %0 = llm.rope %h, %rows, @missing head_dim 4 : tensor<?x8xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.rope_table @rope [1.0, 0.25]
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.rope' op rotates heads of 2, but @rope has frequencies for 4}}
      %0 = llm.rope %h, %rows, @rope head_dim 2 : tensor<?x8xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

//===-- kv_write, attention --===//

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.state @kv : !llm.kv<2x4xf16> layers 0:3
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.attention' op has scale 0.000000e+00: it must be finite and positive}}
      %0 = llm.attention %h, %rows, @kv scale 0.0 : tensor<?x8xf32> -> tensor<?x8xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

//===-- fused ops --===//

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @input_norm norm "{layer}.n" : tensor<3x8xf32>
  llm.weight @q_proj matrix "{layer}.q" : tensor<3x16x8xf32>
  llm.weight @k_proj matrix "{layer}.k" : tensor<3x8x8xf32>
  llm.weight @v_proj matrix "{layer}.v" : tensor<3x8x8xf32>
  llm.weight @q_bias bias "{layer}.qb" : tensor<3x16xf32>
  llm.state @kv : !llm.kv<2x4xf16> layers 0:3
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.norm_qkv' op has 1 of the biases of q, k and v: all or none}}
      %0 = "llm.norm_qkv"(%h, %rows) {state = @kv, norm = @input_norm, eps = 1.0e-5 : f64, q_proj = @q_proj, k_proj = @k_proj, v_proj = @v_proj, q_bias = @q_bias} : (tensor<?x8xf32>, !llm.rows) -> tensor<?x16xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @input_norm norm "{layer}.n" : tensor<3x8xf32>
  llm.weight @q_proj matrix "{layer}.q" : tensor<3x16x8xf32>
  llm.weight @k_proj matrix "{layer}.k" : tensor<3x8x8xf32>
  llm.weight @v_proj matrix "{layer}.v" : tensor<3x8x8xf32>
  llm.state @kv : !llm.kv<2x4xf16> layers 0:3
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.norm_qkv' op needs @q_proj to be 8x8, but it is 16x8}}
      %0 = llm.norm_qkv %h, %rows, @kv norm @input_norm eps 1.0e-5 proj @k_proj, @q_proj, @v_proj : tensor<?x8xf32> -> tensor<?x8xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @input_norm norm "{layer}.n" : tensor<3x8xf32>
  llm.weight @gate_proj matrix "{layer}.g" : tensor<3x12x8xf32>
  llm.weight @up_proj matrix "{layer}.u" : tensor<3x12x8xf32>
  llm.weight @gate_bias bias "{layer}.gb" : tensor<3x12xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.norm_glu' op has a bias of gate alone: both or none}}
      %0 = "llm.norm_glu"(%h) {norm = @input_norm, eps = 1.0e-5 : f64, gate_proj = @gate_proj, up_proj = @up_proj, gate_bias = @gate_bias, activation = #llm<activation silu>} : (tensor<?x8xf32>) -> tensor<?x12xf32>
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
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.linear_residual' op needs @gate_proj to be 8x8, but it is 12x8}}
      %0 = llm.linear_residual %h, %h, @gate_proj : tensor<?x8xf32> -> tensor<?x8xf32>
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
    // expected-error@+1 {{'llm.norm_logits' op needs a norm, but @embed_tokens is a matrix}}
    %l = llm.norm_logits %x, %rows norm @embed_tokens eps 1.0e-5, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @positions matrix "p" : tensor<63x8xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    // expected-error@+1 {{'llm.embed' op has 63 positions in @positions, but max_seq_len is 64}}
    %x = llm.embed %rows, @embed_tokens positions @positions : tensor<?x8xf32>
    %l = llm.logits %x, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @n norm "{layer}.n" : tensor<3x8xf32>
  llm.weight @head norm "{layer}.h" : tensor<3x4xf32>
  llm.weight @w matrix "{layer}.w" : tensor<3x8x8xf32>
  llm.state @kv : !llm.kv<2x4xf16> layers 0:3
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      // expected-error@+1 {{'llm.norm_qkv' op has a qk_norm of q alone}}
      %0 = "llm.norm_qkv"(%h, %rows) {state = @kv, norm = @n, eps = 1.0e-5 : f64, q_proj = @w, k_proj = @w, v_proj = @w, q_norm = @head, qk_eps = 1.0e-5 : f64} : (tensor<?x8xf32>, !llm.rows) -> tensor<?x8xf32>
      llm.yield %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}
