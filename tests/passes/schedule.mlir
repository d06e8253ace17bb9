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
