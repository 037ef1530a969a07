"""Post-training quantization passes: equalization, SmoothQuant, AdaRound, BRECQ, GPTQ, bias correction."""
