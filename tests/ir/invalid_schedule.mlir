// Every message of VerifySchedule.cpp but those about states, each with the smallest IR that earns it.
// RUN: llmc-opt %s --split-input-file --verify-diagnostics

//===-- packed_weight --===//

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.packed_weight' op has no sources}}
  llm.packed_weight @p rows concat of [] : f32
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.packed_weight' op names the weight @missing, which the model lacks}}
  llm.packed_weight @p rows concat of [@missing] : f32
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @q_proj matrix "{layer}.q" : tensor<3x16x8xf32>
  // expected-error@+1 {{'llm.packed_weight' op has head_rows 0 in the order heads: the order heads needs it, no other has it}}
  llm.packed_weight @p panels heads of [@q_proj] : f32
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @q_proj matrix "{layer}.q" : tensor<3x16x8xf32>
  // expected-error@+1 {{'llm.packed_weight' op has heads of 3 rows, but @q_proj has 16 rows}}
  llm.packed_weight @p panels heads of [@q_proj] head_rows 3 : f32
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @q_proj matrix "{layer}.q" : tensor<3x16x8xf32>
  // expected-error@+1 {{'llm.packed_weight' op lies in rows in the order interleave: rows can only follow one another}}
  llm.packed_weight @p rows interleave of [@q_proj, @q_proj] : f32
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @q_proj matrix "{layer}.q" : tensor<3x16x8xf32>
  // expected-error@+1 {{'llm.packed_weight' op interleaves 1 sources: it takes two}}
  llm.packed_weight @p panels interleave of [@q_proj] : f32
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @norm norm "n" : tensor<8xf32>
  // expected-error@+1 {{'llm.packed_weight' op lays @norm in panels, but it is a norm}}
  llm.packed_weight @p panels concat of [@norm] : f32
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @norm norm "n" : tensor<8xf32>
  // expected-error@+1 {{'llm.packed_weight' op holds 'bf16', but @norm is kept in 'f32'}}
  llm.packed_weight @p rows concat of [@norm] : bf16
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @q_proj matrix "{layer}.q" : tensor<3x16x8xf32>
  // expected-error@+1 {{'llm.packed_weight' op packs @q_proj with @embed_tokens: they differ in kind, layers or columns}}
  llm.packed_weight @p panels concat of [@q_proj, @embed_tokens] : f32
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @q_proj matrix "{layer}.q" : tensor<3x16x8xf32>
  llm.weight @k_proj matrix "{layer}.k" : tensor<3x8x8xf32>
  // expected-error@+1 {{'llm.packed_weight' op packs @q_proj with @k_proj: they differ in kind, layers or columns, or rows}}
  llm.packed_weight @p panels interleave of [@q_proj, @k_proj] : f32
}

// -----

//===-- kernel --===//

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  // expected-error@+1 {{'llm.kernel' op max_rows is 0: it must be positive}}
  llm.kernel @k_embed decode max_rows 0 row_strides [8] {
    ^bb0(%rows: !llm.rows):
      %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
      llm.yield %x : tensor<?x8xf32>
    }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  // expected-error@+1 {{'llm.kernel' op decodes 17 rows: at most 16}}
  llm.kernel @k_embed decode max_rows 17 row_strides [8] {
    ^bb0(%rows: !llm.rows):
      %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
      llm.yield %x : tensor<?x8xf32>
    }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  // expected-error@+1 {{'llm.kernel' op must hold one op that computes, and llm.yield}}
  llm.kernel @k_embed decode max_rows 8 row_strides [8] {
    ^bb0(%rows: !llm.rows):
      %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
      %y = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
      llm.yield %x : tensor<?x8xf32>
    }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  // expected-error@+1 {{'llm.kernel' op must yield the results of llm.embed}}
  llm.kernel @k_embed decode max_rows 8 row_strides [8] {
    ^bb0(%rows: !llm.rows):
      %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
      llm.yield
    }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  // expected-error@+1 {{'llm.kernel' op must pass its arguments to llm.embed one by one and in order}}
  llm.kernel @k_embed decode max_rows 8 row_strides [8] {
    ^bb0(%other: !llm.rows, %rows: !llm.rows):
      %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
      llm.yield %x : tensor<?x8xf32>
    }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  // expected-error@+1 {{'llm.kernel' op has 2 row_strides for 1 tensors}}
  llm.kernel @k_embed decode max_rows 8 row_strides [8, 8] {
    ^bb0(%rows: !llm.rows):
      %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
      llm.yield %x : tensor<?x8xf32>
    }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  // expected-error@+1 {{'llm.kernel' op has the row_stride 4 for rows of 8}}
  llm.kernel @k_embed decode max_rows 8 row_strides [4] {
    ^bb0(%rows: !llm.rows):
      %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
      llm.yield %x : tensor<?x8xf32>
    }
}

// -----

//===-- schedule, buffer, repeat --===//

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.schedule' op max_rows is 0: it must be positive}}
  llm.schedule @s decode max_rows 0 max_logits_rows 1 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.schedule' op max_logits_rows is 9: it must be positive and at most max_rows, 8}}
  llm.schedule @s decode max_rows 8 max_logits_rows 9 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.schedule' op has its logits in @missing, which is no buffer of it}}
  llm.schedule @s decode max_rows 8 max_logits_rows 1 arena_bytes 1024 logits @missing {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  // expected-error@+1 {{'llm.schedule' op has a logits buffer of 1x8: it must hold 1x20}}
  llm.schedule @s decode max_rows 8 max_logits_rows 1 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 0 rows 1 width 8 row_stride 8
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.schedule @s decode max_rows 8 max_logits_rows 1 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
    // expected-error@+1 {{'llm.buffer' op lies at offset 32: it must be a multiple of 64}}
    llm.buffer @h offset 32 rows 8 width 8 row_stride 8
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.schedule @s decode max_rows 8 max_logits_rows 1 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
    // expected-error@+1 {{'llm.buffer' op has 0 rows of 8: both must be positive}}
    llm.buffer @h offset 0 rows 0 width 8 row_stride 8
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.schedule @s decode max_rows 8 max_logits_rows 1 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
    // expected-error@+1 {{'llm.buffer' op has the row_stride 4 for rows of 8}}
    llm.buffer @h offset 0 rows 8 width 8 row_stride 4
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.schedule @s decode max_rows 8 max_logits_rows 1 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
    // expected-error@+1 {{'llm.buffer' op ends after the arena of 1024 bytes}}
    llm.buffer @h offset 832 rows 8 width 8 row_stride 8
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.schedule @s decode max_rows 8 max_logits_rows 1 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
    // expected-error@+1 {{'llm.buffer' op has elements of 'i64': they must be f32, f16, bf16, i32, i8 or ui8}}
    llm.buffer @h offset 0 rows 8 width 8 row_stride 8 : i64
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.schedule @s decode max_rows 8 max_logits_rows 1 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
    // expected-error@+1 {{'llm.repeat' op runs 2 layers from layer 2 on, but the model has 3}}
    llm.repeat first_layer 2 num_layers 2 {
    }
  }
}

// -----

//===-- phase --===//

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.packed_weight @p_embed rows concat of [@embed_tokens] : f32
  llm.kernel @k_embed decode max_rows 8 row_strides [8] {
  ^bb0(%rows: !llm.rows):
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    llm.yield %x : tensor<?x8xf32>
  }
  llm.schedule @s decode max_rows 8 max_logits_rows 1 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
    llm.buffer @h offset 0 rows 8 width 8 row_stride 8
    // expected-error@+1 {{'llm.phase' op runs the kernel @missing, which the model lacks}}
    llm.phase @missing tiles 1 rows_per_tile 1 [#llm.operand<read weights @p_embed>, #llm.operand<write arena @h>]
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.packed_weight @p_embed rows concat of [@embed_tokens] : f32
  llm.kernel @k_embed decode max_rows 8 row_strides [8] {
  ^bb0(%rows: !llm.rows):
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    llm.yield %x : tensor<?x8xf32>
  }
  llm.schedule @s decode max_rows 4 max_logits_rows 1 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
    llm.buffer @h offset 0 rows 8 width 8 row_stride 8
    // expected-error@+1 {{'llm.phase' op runs a kernel for 8 rows of decode in a schedule for 4 of decode}}
    llm.phase @k_embed tiles 1 rows_per_tile 1 [#llm.operand<read input @token_id>, #llm.operand<read weights @p_embed>, #llm.operand<write arena @h>]
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.packed_weight @p_embed rows concat of [@embed_tokens] : f32
  llm.kernel @k_embed decode max_rows 8 row_strides [8] {
  ^bb0(%rows: !llm.rows):
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    llm.yield %x : tensor<?x8xf32>
  }
  llm.schedule @s verify max_rows 8 max_logits_rows 1 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
    llm.buffer @h offset 0 rows 8 width 8 row_stride 8
    // expected-error@+1 {{'llm.phase' op runs a kernel for 8 rows of decode in a schedule for 8 of verify}}
    llm.phase @k_embed tiles 1 rows_per_tile 1 [#llm.operand<read input @token_id>, #llm.operand<read weights @p_embed>, #llm.operand<write arena @h>]
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.packed_weight @p_embed rows concat of [@embed_tokens] : f32
  llm.kernel @k_embed decode max_rows 8 row_strides [8] {
  ^bb0(%rows: !llm.rows):
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    llm.yield %x : tensor<?x8xf32>
  }
  llm.schedule @s decode max_rows 8 max_logits_rows 1 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
    llm.buffer @h offset 0 rows 8 width 8 row_stride 8
    // expected-error@+1 {{'llm.phase' op has 2 tiles of 1 rows, but its kernel has 1 of 1}}
    llm.phase @k_embed tiles 2 rows_per_tile 1 [#llm.operand<read input @token_id>, #llm.operand<read weights @p_embed>, #llm.operand<write arena @h>]
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.packed_weight @p_embed rows concat of [@embed_tokens] : f32
  llm.kernel @k_embed decode max_rows 8 row_strides [8] {
  ^bb0(%rows: !llm.rows):
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    llm.yield %x : tensor<?x8xf32>
  }
  llm.schedule @s decode max_rows 8 max_logits_rows 1 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
    llm.buffer @h offset 0 rows 8 width 8 row_stride 8
    // expected-error@+1 {{'llm.phase' op has 2 operands, but its kernel takes 3}}
    llm.phase @k_embed tiles 1 rows_per_tile 1 [#llm.operand<read input @token_id>, #llm.operand<read weights @p_embed>]
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.packed_weight @p_embed rows concat of [@embed_tokens] : f32
  llm.kernel @k_embed decode max_rows 8 row_strides [8] {
  ^bb0(%rows: !llm.rows):
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    llm.yield %x : tensor<?x8xf32>
  }
  llm.schedule @s decode max_rows 8 max_logits_rows 1 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
    llm.buffer @h offset 0 rows 8 width 8 row_stride 8
    // expected-error@+1 {{'llm.phase' op has #llm.operand<read arena @h> as operand 2, but its kernel takes write arena}}
    llm.phase @k_embed tiles 1 rows_per_tile 1 [#llm.operand<read input @token_id>, #llm.operand<read weights @p_embed>, #llm.operand<read arena @h>]
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.packed_weight @p_embed rows concat of [@embed_tokens] : f32
  llm.kernel @k_embed decode max_rows 8 row_strides [8] {
  ^bb0(%rows: !llm.rows):
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    llm.yield %x : tensor<?x8xf32>
  }
  llm.schedule @s decode max_rows 8 max_logits_rows 1 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
    llm.buffer @h offset 0 rows 8 width 8 row_stride 8
    // expected-error@+1 {{'llm.phase' op has #llm.operand<write arena @x>, but the schedule has no such buffer}}
    llm.phase @k_embed tiles 1 rows_per_tile 1 [#llm.operand<read input @token_id>, #llm.operand<read weights @p_embed>, #llm.operand<write arena @x>]
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.packed_weight @p_embed rows concat of [@embed_tokens] : f32
  llm.kernel @k_embed decode max_rows 8 row_strides [8] {
  ^bb0(%rows: !llm.rows):
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    llm.yield %x : tensor<?x8xf32>
  }
  llm.schedule @s decode max_rows 8 max_logits_rows 1 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
    llm.buffer @h offset 0 rows 8 width 8 row_stride 12
    // expected-error@+1 {{'llm.phase' op has #llm.operand<write arena @h> of rows of 8 with row_stride 12, but its kernel takes 8 with row_stride 8}}
    llm.phase @k_embed tiles 1 rows_per_tile 1 [#llm.operand<read input @token_id>, #llm.operand<read weights @p_embed>, #llm.operand<write arena @h>]
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.packed_weight @p_embed rows concat of [@embed_tokens] : f32
  llm.kernel @k_embed decode max_rows 8 row_strides [8] {
  ^bb0(%rows: !llm.rows):
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    llm.yield %x : tensor<?x8xf32>
  }
  llm.schedule @s decode max_rows 8 max_logits_rows 1 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
    llm.buffer @h offset 0 rows 8 width 8 row_stride 8 : i8
    // expected-error@+1 {{'llm.phase' op has #llm.operand<write arena @h> of 'i8', but its kernel takes 'f32'}}
    llm.phase @k_embed tiles 1 rows_per_tile 1 [#llm.operand<read input @token_id>, #llm.operand<read weights @p_embed>, #llm.operand<write arena @h>]
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.packed_weight @p_embed rows concat of [@embed_tokens] : f32
  llm.kernel @k_embed decode max_rows 8 row_strides [8] {
  ^bb0(%rows: !llm.rows):
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    llm.yield %x : tensor<?x8xf32>
  }
  llm.schedule @s decode max_rows 8 max_logits_rows 1 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
    llm.buffer @h offset 0 rows 4 width 8 row_stride 8
    // expected-error@+1 {{'llm.phase' op has #llm.operand<write arena @h> of 4 rows, but it needs 8}}
    llm.phase @k_embed tiles 1 rows_per_tile 1 [#llm.operand<read input @token_id>, #llm.operand<read weights @p_embed>, #llm.operand<write arena @h>]
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.packed_weight @p_embed rows concat of [@embed_tokens] : f32
  llm.kernel @k_embed decode max_rows 8 row_strides [8] {
  ^bb0(%rows: !llm.rows):
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    llm.yield %x : tensor<?x8xf32>
  }
  llm.schedule @s decode max_rows 8 max_logits_rows 1 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
    llm.buffer @h offset 0 rows 8 width 8 row_stride 8
    // expected-error@+1 {{'llm.phase' op has #llm.operand<read weights @embed_tokens>, but the model has no such packed weight}}
    llm.phase @k_embed tiles 1 rows_per_tile 1 [#llm.operand<read input @token_id>, #llm.operand<read weights @embed_tokens>, #llm.operand<write arena @h>]
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.packed_weight @p_embed rows concat of [@embed_tokens] : f32
  llm.kernel @k_embed decode max_rows 8 row_strides [8] {
  ^bb0(%rows: !llm.rows):
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    llm.yield %x : tensor<?x8xf32>
  }
  llm.packed_weight @p panels concat of [@embed_tokens] : f32
  llm.schedule @s decode max_rows 8 max_logits_rows 1 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
    llm.buffer @h offset 0 rows 8 width 8 row_stride 8
    // expected-error@+1 {{'llm.phase' op has #llm.operand<read weights @p>, whose sources or layout are not those its kernel takes}}
    llm.phase @k_embed tiles 1 rows_per_tile 1 [#llm.operand<read input @token_id>, #llm.operand<read weights @p>, #llm.operand<write arena @h>]
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.weight @input_norm norm "{layer}.n" : tensor<3x8xf32>
  llm.packed_weight @p_input_norm rows concat of [@input_norm] : f32
  llm.kernel @k_norm decode max_rows 8 row_strides [8, 8] {
  ^bb0(%x: tensor<?x8xf32>):
    %n = llm.rms_norm %x, @input_norm eps 1.0e-5 : tensor<?x8xf32>
    llm.yield %n : tensor<?x8xf32>
  }
  llm.schedule @s decode max_rows 8 max_logits_rows 1 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
    llm.buffer @h offset 0 rows 8 width 8 row_stride 8
    // expected-error@+1 {{'llm.phase' op has #llm.operand<read weights @p_input_norm>, which every layer has, outside llm.repeat}}
    llm.phase @k_norm tiles 1 rows_per_tile 1 [#llm.operand<read arena @h>, #llm.operand<read weights @p_input_norm>, #llm.operand<write arena @h>]
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.packed_weight @p_input_norm rows concat of [@input_norm] : f32
  llm.kernel @k_norm decode max_rows 8 row_strides [8, 8] {
  ^bb0(%x: tensor<?x8xf32>):
    %n = llm.rms_norm %x, @input_norm eps 1.0e-5 : tensor<?x8xf32>
    llm.yield %n : tensor<?x8xf32>
  }
  llm.weight @input_norm norm "{layer}.n" first_layer 1 : tensor<2x8xf32>
  llm.schedule @s decode max_rows 8 max_logits_rows 1 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
    llm.buffer @h offset 0 rows 8 width 8 row_stride 8
    llm.repeat first_layer 0 num_layers 3 {
      // expected-error@+1 {{'llm.phase' op runs in layers 0 to 2, but #llm.operand<read weights @p_input_norm> has layers 1 to 2}}
      llm.phase @k_norm tiles 1 rows_per_tile 1 [#llm.operand<read arena @h>, #llm.operand<read weights @p_input_norm>, #llm.operand<write arena @h>]
    }
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.rope_table @rope [1.0, 0.25]
  llm.kernel @k_rope decode max_rows 8 row_strides [8, 8] {
  ^bb0(%x: tensor<?x8xf32>, %rows: !llm.rows):
    %y = llm.rope %x, %rows, @rope head_dim 4 : tensor<?x8xf32>
    llm.yield %y : tensor<?x8xf32>
  }
  llm.schedule @s decode max_rows 8 max_logits_rows 1 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
    llm.buffer @h offset 0 rows 8 width 8 row_stride 8
    // expected-error@+1 {{'llm.phase' op has #llm.operand<read rope @other>, but the model has no such rope table}}
    llm.phase @k_rope tiles 1 rows_per_tile 1 [#llm.operand<read arena @h>, #llm.operand<read input @pos>, #llm.operand<read rope @other>, #llm.operand<write arena @h>]
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.rope_table @rope [1.0, 0.25]
  llm.rope_table @other [1.0]
  llm.kernel @k_rope decode max_rows 8 row_strides [8, 8] {
  ^bb0(%x: tensor<?x8xf32>, %rows: !llm.rows):
    %y = llm.rope %x, %rows, @rope head_dim 4 : tensor<?x8xf32>
    llm.yield %y : tensor<?x8xf32>
  }
  llm.schedule @s decode max_rows 8 max_logits_rows 1 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
    llm.buffer @h offset 0 rows 8 width 8 row_stride 8
    // expected-error@+1 {{'llm.phase' op has #llm.operand<read rope @other> of 1 frequencies, but its kernel takes 2}}
    llm.phase @k_rope tiles 1 rows_per_tile 1 [#llm.operand<read arena @h>, #llm.operand<read input @pos>, #llm.operand<read rope @other>, #llm.operand<write arena @h>]
  }
}

// -----

// A kernel may stand after the schedule that asks for its tiles.
llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.schedule @s decode max_rows 8 max_logits_rows 1 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
    llm.phase @k tiles 1 rows_per_tile 1 []
  }
  llm.kernel @k decode max_rows 8 row_strides [8, 8] {
  ^bb0(%q: tensor<?x8xf32>, %rows: !llm.rows):
    // expected-error@+1 {{'llm.attention' op names the state @kv, which the model lacks}}
    %y = llm.attention %q, %rows, @kv scale 0.5 : tensor<?x8xf32> -> tensor<?x8xf32>
    llm.yield %y : tensor<?x8xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4 num_layers 3 vocab_size 20 max_seq_len 64 max_batch 1 {
  llm.schedule @s decode max_rows 8 max_logits_rows 1 arena_bytes 1024 logits @logits {
    llm.buffer @logits offset 512 rows 1 width 20 row_stride 20
    llm.phase @k tiles 1 rows_per_tile 1 []
  }
  llm.kernel @k decode max_rows 8 row_strides [8, 8] {
  ^bb0(%x: tensor<?x8xf32>):
    // expected-error@+1 {{'llm.head_linear' op has rows of 8 for 0 heads}}
    %y = llm.head_linear %x, @w heads 0 : tensor<?x8xf32> -> tensor<?x8xf32>
    llm.yield %y : tensor<?x8xf32>
  }
}
