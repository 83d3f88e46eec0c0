"""Classical machine learning on image embeddings: frozen timm backbones, HDF5 features, scikit-learn estimators."""
