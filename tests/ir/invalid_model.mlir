// Every message of VerifyModel.cpp and the types, each with the smallest IR that earns it.
// RUN: llmc-opt %s --split-input-file --verify-diagnostics

//===-- types --===//

// expected-error@+1 {{KV cache of 0 heads of 4: both must be positive}}
llm.state @kv : !llm.kv<0x4xf16> layers 0:1

// -----

// expected-error@+1 {{KV cache of 'i8': must be f32, f16 or bf16}}
llm.state @kv : !llm.kv<2x4xi8> layers 0:1

// -----

// expected-error@+1 {{expected num_kv_heads x head_dim x type}}
llm.state @kv : !llm.kv<4xf16> layers 0:1

// -----

// expected-error@+1 {{KV cache of values of 5: they must be positive and no wider than its keys of 4}}
llm.state @kv : !llm.kv<2x4x5xf16> layers 0:1

// -----

// expected-error@+1 {{recurrent state of no dimensions}}
llm.state @delta : !llm.recurrent<f32> layers 0:1

// -----

// expected-error@+1 {{recurrent state with a dimension of 0: must be positive}}
llm.state @delta : !llm.recurrent<4x0xf32> layers 0:1

// -----

// expected-error@+1 {{recurrent state of 'i8': must be f32, f16 or bf16}}
llm.state @delta : !llm.recurrent<4x8xi8> layers 0:1

// -----

//===-- model --===//

// expected-error@+1 {{'llm.model' op hidden_size is 0: it must be positive}}
llm.model @m architecture "llama" hidden_size 0 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  
}

// -----

// expected-error@+1 {{'llm.model' op num_heads 4 is not a multiple of num_kv_heads 3}}
llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 3 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  
}

// -----

// expected-error@+1 {{'llm.model' op llm.activations is "int4": it must be "int8" or "float"}}
llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 attributes {llm.activations = "int4"} {
  
}

// -----

//===-- weight --===//

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.weight' op has the type 'tensor<?x8xf32>': every dimension must be known and positive}}
  llm.weight @w matrix "w" : tensor<?x8xf32>
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.weight' op has elements of 'i8': they must be f32, f16 or bf16}}
  llm.weight @w matrix "w" : tensor<4x8xi8>
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{no format of weights is called q9: there are f32, f16, bf16, q8_0, q4_0, q4_1, q5_0, q5_1, q2_k, q3_k, q4_k, q5_k, q6_k, iq4_nl, iq4_xs}}
  llm.weight @w matrix "w" : tensor<4x8x!llm.q<q9>>
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{bf16 is a type of its own: write bf16, not !llm.q<bf16>}}
  llm.weight @w matrix "w" : tensor<4x8x!llm.q<bf16>>
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.weight' op has elements of '!llm.q<q8_0>': they must be f32, f16 or bf16}}
  llm.weight @w norm "w" : tensor<8x!llm.q<q8_0>>
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.weight' op has the type 'tensor<8xf32>': a matrix has 2 dimensions}}
  llm.weight @w matrix "w" : tensor<8xf32>
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.weight' op has the type 'tensor<8xf32>': a norm per layer has 2 dimensions}}
  llm.weight @w norm "{layer}.w" : tensor<8xf32>
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.weight' op has first_layer 1, but its source names no {layer}}}
  llm.weight @w norm "w" first_layer 1 : tensor<8xf32>
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.weight' op has 3 layers from layer 1 on, but the model has 3}}
  llm.weight @w norm "{layer}.w" first_layer 1 : tensor<3x8xf32>
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.weight' op has a view of a tensor with a dimension of 0}}
  llm.weight @w matrix "{layer}.w" view <stored[0, 8] begin 0 run 6 outer 0 inner 8 col 1> : tensor<3x6x8xf32>
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.weight' op has a view that steps 65 in 64 elements}}
  llm.weight @w matrix "{layer}.w" view <stored[8, 8] begin 65 run 6 outer 0 inner 8 col 1> : tensor<3x6x8xf32>
}

// -----

//===-- rope_table --===//

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.rope_table' op has no frequencies}}
  llm.rope_table @rope []
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.rope_table' op has the frequency -1.000000e+00: it must be finite and not negative}}
  llm.rope_table @rope [-1.0]
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.rope_table' op has scale 0.000000e+00: it must be finite and positive}}
  llm.rope_table @rope scale 0.0 [1.0]
}

// -----

//===-- state --===//

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.state' op has the type 'f32': it must be !llm.kv, !llm.recurrent or !llm.kept}}
  llm.state @kv : f32 layers 0:3
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.state' op has window -1: it must not be negative (0: none)}}
  llm.state @kv : !llm.kv<2x4xf16> window -1 layers 0:3
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.state' op has a window, but keeps no tokens}}
  llm.state @delta : !llm.recurrent<4x8xf32> window 5 layers 0:3
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.state' op has layers 1:1: ranges must be ascending, apart, and in the model's 3}}
  llm.state @kv : !llm.kv<2x4xf16> layers 1:1
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.state' op has layers 1:4: ranges must be ascending, apart, and in the model's 3}}
  llm.state @kv : !llm.kv<2x4xf16> layers 1:4
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.state' op has layers -1:2: ranges must be ascending, apart, and in the model's 3}}
  llm.state @kv : !llm.kv<2x4xf16> layers -1:2
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.state' op has layers 0:1: ranges must be ascending, apart, and in the model's 3}}
  llm.state @kv : !llm.kv<2x4xf16> layers 2:3, 0:1
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.state' op has layers 1:3: ranges must be ascending, apart, and in the model's 3}}
  llm.state @kv : !llm.kv<2x4xf16> layers 0:1, 1:3
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.state' op has no ranges of layers}}
  "llm.state"() {sym_name = "kv", type = !llm.kv<2x4xf16>, layers = array<i64>} : () -> ()
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.state' op has no ranges of layers}}
  "llm.state"() {sym_name = "kv", type = !llm.kv<2x4xf16>, layers = array<i64: 0>} : () -> ()
}

// -----

//===-- entry --===//

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  // expected-error@+1 {{'llm.entry' op max_rows is 0: it must be positive}}
  llm.entry @decode(%rows: !llm.rows) decode max_rows 0 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %l = llm.logits %x, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  // expected-error@+1 {{'llm.entry' op takes ('!llm.rows', '!llm.rows'): it must take (!llm.rows)}}
  llm.entry @decode(%rows: !llm.rows, %more: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %l = llm.logits %x, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  // expected-error@+1 {{expected the kind of its steps: prefill, decode, ...}}
  llm.entry @decode(%rows: !llm.rows) generate max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %l = llm.logits %x, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  // expected-error@+1 {{'llm.entry' op decodes 17 rows: at most 16}}
  llm.entry @decode(%rows: !llm.rows) decode max_rows 17 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %l = llm.logits %x, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  // expected-error@+1 {{'llm.entry' op returns 8 logits a row, but vocab_size is 20}}
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    llm.return %x : tensor<?x8xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  // expected-error@+1 {{'llm.entry' op runs 2 layers, but the model has 3}}
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x8xf32> {
      
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
      
      // expected-error@+1 {{'llm.return' op expects parent op 'llm.entry'}}
      llm.return %h : tensor<?x8xf32>
    }
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}

// -----

//===-- layers --===//

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    // expected-error@+1 {{'llm.layers' op begins at layer 1: layer 0 must be next, each runs once and in order}}
    %y = llm.layers %h = %x first 1 count 2 : tensor<?x8xf32> {
      
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
    // expected-error@+1 {{'llm.layers' op runs 4 layers from layer 0 on, but the model has 3}}
    %y = llm.layers %h = %x first 0 count 4 : tensor<?x8xf32> {
      
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
    // expected-error@+1 {{'llm.layers' op yields ('tensor<?x8xf32>', 'tensor<?x8xf32>'): it must yield the residual stream, 'tensor<?x8xf32>'}}
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x8xf32> {
      
      llm.yield %h, %h : tensor<?x8xf32>, tensor<?x8xf32>
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
    // expected-error@+1 {{'llm.layers' op has a body that takes ('tensor<?x8xf32>', 'tensor<?x8xf32>'): it must take the residual stream, 'tensor<?x8xf32>'}}
    %y = "llm.layers"(%x) <{first_layer = 0, num_layers = 3}> ({
    ^bb0(%h: tensor<?x8xf32>, %more: tensor<?x8xf32>):
      llm.yield %h : tensor<?x8xf32>
    }) : (tensor<?x8xf32>) -> tensor<?x8xf32>
    %l = llm.logits %y, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}
