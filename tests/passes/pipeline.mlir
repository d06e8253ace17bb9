llm.model @tiny architecture "llama" hidden_size 64 intermediate_size 1024 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "model.embed_tokens.weight" : tensor<128x64xbf16>
  llm.weight @input_norm norm "model.layers.{layer}.input_layernorm.weight" : tensor<2x64xbf16>
  llm.weight @q_proj matrix "model.layers.{layer}.self_attn.q_proj.weight" : tensor<2x64x64xbf16>
  llm.weight @k_proj matrix "model.layers.{layer}.self_attn.k_proj.weight" : tensor<2x32x64xbf16>
  llm.weight @v_proj matrix "model.layers.{layer}.self_attn.v_proj.weight" : tensor<2x32x64xbf16>
  llm.weight @o_proj matrix "model.layers.{layer}.self_attn.o_proj.weight" : tensor<2x64x64xbf16>
  llm.weight @post_attention_norm norm "model.layers.{layer}.post_attention_layernorm.weight" : tensor<2x64xbf16>
  llm.weight @gate_proj matrix "model.layers.{layer}.mlp.gate_proj.weight" : tensor<2x1024x64xbf16>
  llm.weight @up_proj matrix "model.layers.{layer}.mlp.up_proj.weight" : tensor<2x1024x64xbf16>
  llm.weight @down_proj matrix "model.layers.{layer}.mlp.down_proj.weight" : tensor<2x64x1024xbf16>
  llm.weight @norm norm "model.norm.weight" : tensor<64xbf16>
  llm.rope_table @rope [1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125]
  llm.entry @decode(%rows: !llm.rows, %kv: !llm.kv_cache<2x16xbf16>) max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %n = llm.rms_norm %h, @input_norm eps 1.0e-5 : tensor<?x64xf32>
      %q = llm.linear %n, @q_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %k = llm.linear %n, @k_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %v = llm.linear %n, @v_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %qr = llm.rope %q, %rows, @rope head_dim 16 : tensor<?x64xf32>
      %kr = llm.rope %k, %rows, @rope head_dim 16 : tensor<?x32xf32>
      llm.kv_write %kr, %v, %rows, %kv : tensor<?x32xf32>, !llm.kv_cache<2x16xbf16>
      %a = llm.attention %qr, %rows, %kv scale 0.25 : tensor<?x64xf32>, !llm.kv_cache<2x16xbf16>
      %o = llm.linear %a, @o_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %r = llm.add %h, %o : tensor<?x64xf32>
      %n2 = llm.rms_norm %r, @post_attention_norm eps 1.0e-5 : tensor<?x64xf32>
      %g = llm.linear %n2, @gate_proj : tensor<?x64xf32> -> tensor<?x1024xf32>
      %u = llm.linear %n2, @up_proj : tensor<?x64xf32> -> tensor<?x1024xf32>
      %s = llm.activation %g silu : tensor<?x1024xf32>
      %m = llm.mul %s, %u : tensor<?x1024xf32>
      %d = llm.linear %m, @down_proj : tensor<?x1024xf32> -> tensor<?x64xf32>
      %z = llm.add %r, %d : tensor<?x64xf32>
      llm.yield %z : tensor<?x64xf32>
    }
    %f = llm.rms_norm %y, @norm eps 1.0e-5 : tensor<?x64xf32>
    %l = llm.logits %f, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
  llm.entry @prefill(%rows: !llm.rows, %kv: !llm.kv_cache<2x16xbf16>) max_rows 64 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %n = llm.rms_norm %h, @input_norm eps 1.0e-5 : tensor<?x64xf32>
      %q = llm.linear %n, @q_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %k = llm.linear %n, @k_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %v = llm.linear %n, @v_proj : tensor<?x64xf32> -> tensor<?x32xf32>
      %qr = llm.rope %q, %rows, @rope head_dim 16 : tensor<?x64xf32>
      %kr = llm.rope %k, %rows, @rope head_dim 16 : tensor<?x32xf32>
      llm.kv_write %kr, %v, %rows, %kv : tensor<?x32xf32>, !llm.kv_cache<2x16xbf16>
      %a = llm.attention %qr, %rows, %kv scale 0.25 : tensor<?x64xf32>, !llm.kv_cache<2x16xbf16>
      %o = llm.linear %a, @o_proj : tensor<?x64xf32> -> tensor<?x64xf32>
      %r = llm.add %h, %o : tensor<?x64xf32>
      %n2 = llm.rms_norm %r, @post_attention_norm eps 1.0e-5 : tensor<?x64xf32>
      %g = llm.linear %n2, @gate_proj : tensor<?x64xf32> -> tensor<?x1024xf32>
      %u = llm.linear %n2, @up_proj : tensor<?x64xf32> -> tensor<?x1024xf32>
      %s = llm.activation %g silu : tensor<?x1024xf32>
      %m = llm.mul %s, %u : tensor<?x1024xf32>
      %d = llm.linear %m, @down_proj : tensor<?x1024xf32> -> tensor<?x64xf32>
      %z = llm.add %r, %d : tensor<?x64xf32>
      llm.yield %z : tensor<?x64xf32>
    }
    %f = llm.rms_norm %y, @norm eps 1.0e-5 : tensor<?x64xf32>
    %l = llm.logits %f, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}
