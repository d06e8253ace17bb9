// RUN: llmc-opt %s --llm-pack-weights --llm-schedule --split-input-file --verify-diagnostics | FileCheck %s

// The stream is one buffer; what is made inside a layer is another.
// CHECK:      llm.schedule @decode
// CHECK-NEXT: llm.buffer @residual
// CHECK-NEXT: llm.buffer @rms_norm
// CHECK-NEXT: llm.buffer @add
// CHECK-NEXT: llm.buffer @logits
// CHECK:        llm.phase @rms_norm_64_decode {{.*}}<read arena @residual>{{.*}}<write arena @rms_norm>
// CHECK-NEXT:   llm.phase @add_64_decode {{.*}}<read arena @residual>, #llm.operand<read arena @rms_norm>, #llm.operand<write arena @add>
// CHECK-NEXT:   llm.phase @add_64_decode {{.*}}<read arena @add>, #llm.operand<read arena @rms_norm>, #llm.operand<write arena @residual>
// CHECK:      llm.phase @logits_128x64_f32_decode {{.*}}<read arena @residual>
llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.weight @norm norm "n.{layer}" : tensor<2x64xf32>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %n = llm.rms_norm %h, @norm eps 1.0e-5 : tensor<?x64xf32>
      %r = llm.add %h, %n : tensor<?x64xf32>
      %z = llm.add %r, %n : tensor<?x64xf32>
      llm.yield %z : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.weight @norm norm "n.{layer}" : tensor<2x64xf32>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    // expected-error@+1 {{cannot be scheduled: the residual stream cannot stay in one buffer, a layer uses its input where or after it makes its result}}
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %n = llm.rms_norm %h, @norm eps 1.0e-5 : tensor<?x64xf32>
      %z = llm.add %h, %n : tensor<?x64xf32>
      llm.yield %z : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.weight @norm norm "n.{layer}" : tensor<2x64xf32>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    // expected-error@+1 {{cannot be scheduled: the residual stream cannot stay in one buffer, its first value is used in or after the layers}}
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %n = llm.rms_norm %h, @norm eps 1.0e-5 : tensor<?x64xf32>
      %z = llm.add %n, %n : tensor<?x64xf32>
      llm.yield %z : tensor<?x64xf32>
    }
    %y2 = llm.add %x, %y : tensor<?x64xf32>
    %l = llm.logits %y2, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.weight @norm norm "n.{layer}" : tensor<2x64xf32>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    // expected-error@+1 {{cannot be scheduled: the residual stream cannot stay in one buffer, its first value is used in or after the layers}}
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      llm.yield %x : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.weight @norm norm "n.{layer}" : tensor<2x64xf32>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    // expected-error@+2 {{cannot be scheduled: what it returns are not logits}}
    %l = llm.linear %x, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.weight @norm norm "n.{layer}" : tensor<2x64xf32>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %l = llm.logits %x, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    // expected-error@+1 {{cannot be scheduled: it reads logits, which exist for the wanted rows only}}
    %a = llm.activation %l silu : tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// A commit step: no buffers, no logits, a move per layer of each state; a kernel serves the states of
// its type and window.
// CHECK:      llm.schedule @commit commit max_rows 24 max_logits_rows 0 arena_bytes 0 {
// CHECK-NEXT: llm.repeat first_layer 0 num_layers 1 {
// CHECK-NEXT:   llm.phase @kv_move_2x16_kvf16_commit tiles 2 rows_per_tile 0 {{.*}}<read input @pos>, #llm.operand<read input @slot>, #llm.operand<read input @seq>, #llm.operand<read block_table @a>, #llm.operand<read_write keys @a>, #llm.operand<read_write values @a>]
// CHECK-NEXT: }
// CHECK-NEXT: llm.repeat first_layer 1 num_layers 1 {
// CHECK-NEXT:   llm.phase @kv_move_2x16_kvf16_commit tiles 2 rows_per_tile 0 {{.*}}<read_write keys @b>
// CHECK-NEXT: }
// CHECK-NEXT: }
// CHECK:      llm.kernel @kv_move_2x16_kvf16_commit commit max_rows 24 row_strides [] {
// CHECK-NOT:  llm.kernel
llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.state @a : !llm.kv<2x16xf16> layers 0:1
  llm.state @b : !llm.kv<2x16xf16> layers 1:2
  llm.entry @commit(%rows: !llm.rows) commit max_rows 24 {
    llm.layers first 0 count 1 {
      llm.kv_move %rows, @a
      llm.yield
    }
    llm.layers first 1 count 1 {
      llm.kv_move %rows, @b
      llm.yield
    }
    llm.return
  }
}
