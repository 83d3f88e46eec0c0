"""Models that run without embedkit: backbone and fitted steps as one network, in a file of ONNX or of torch.

    fitted steps -> stages (`steps`) -> one torch module (`network`) -> bytes (`formats`) -> compared (`parity`)

Layer: above the estimators, beside probes and persistence. Imports scikit-learn, and torch in `network` and `formats`;
the backbone's module is handed to it.
"""
