"""Every kind of encoder that Hugging Face can make small: embeddings equal sentence-transformers', whatever its attention is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from armlib.encoder.bi_encoder import BiEncoder
from armlib.errors import InputError
from armlib.retrieval.encoding import encode_texts

WORDS = 395
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY = WORDS + len(SPECIAL) + 10  # classes of tokenizers add special tokens of their own
LENGTHS = (1, 2, 5, 9, 17, 33, 64, 120, 200, 290)  # words of the texts
BERT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 520,
    "pad_token_id": 0,
}
DECODER = BERT | {"num_key_value_heads": 2, "head_dim": 8, "bos_token_id": 2, "eos_token_id": 3}
WINDOW = {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]}
CONFIGURATIONS: dict[str, Callable[[], hf.PretrainedConfig]] = {
    "bert": lambda: hf.BertConfig(**BERT),
    "bert, causal": lambda: hf.BertConfig(**BERT, is_decoder=True),
    "bert, eager": lambda: hf.BertConfig(**BERT, attn_implementation="eager"),
    "distilbert": lambda: hf.DistilBertConfig(
        vocab_size=VOCABULARY, dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=520, pad_token_id=0
    ),
    "roberta": lambda: hf.RobertaConfig(**BERT),
    "xlm-roberta": lambda: hf.XLMRobertaConfig(**BERT),
    "camembert": lambda: hf.CamembertConfig(**BERT),
    "mpnet": lambda: hf.MPNetConfig(**BERT),
    "albert": lambda: hf.AlbertConfig(**BERT, embedding_size=16),
    "electra": lambda: hf.ElectraConfig(**BERT, embedding_size=16),
    "deberta": lambda: hf.DebertaConfig(**BERT, relative_attention=True, pos_att_type=["p2c", "c2p"]),
    "deberta-v2": lambda: hf.DebertaV2Config(**BERT, relative_attention=True, pos_att_type=["p2c", "c2p"], position_buckets=16),
    "xlnet": lambda: hf.XLNetConfig(vocab_size=VOCABULARY, d_model=32, n_layer=2, n_head=4, d_inner=64, pad_token_id=0),
    "longformer": lambda: hf.LongformerConfig(**BERT, attention_window=16),
    "big_bird": lambda: hf.BigBirdConfig(**BERT),
    "modernbert": lambda: hf.ModernBertConfig(
        **BERT, global_attn_every_n_layers=2, local_attention=8, cls_token_id=2, sep_token_id=3, bos_token_id=2, eos_token_id=3
    ),
    "nomic_bert": lambda: hf.NomicBertConfig(**BERT),
    "convbert": lambda: hf.ConvBertConfig(**BERT, embedding_size=16),
    "roformer": lambda: hf.RoFormerConfig(**BERT),
    "megatron-bert": lambda: hf.MegatronBertConfig(**BERT),
    "mobilebert": lambda: hf.MobileBertConfig(
        **BERT, embedding_size=32, true_hidden_size=32, intra_bottleneck_size=32, use_bottleneck=True
    ),
    "eurobert": lambda: hf.EuroBertConfig(**DECODER),
    "t5": lambda: hf.T5Config(vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, pad_token_id=0),
    "umt5": lambda: hf.UMT5Config(vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, pad_token_id=0),
    "gemma3_text": lambda: hf.Gemma3TextConfig(**DECODER, **WINDOW),
    "gemma3_text, both ways": lambda: hf.Gemma3TextConfig(**DECODER, **WINDOW, use_bidirectional_attention=True),
    "mistral": lambda: hf.MistralConfig(**DECODER, sliding_window=8),
    "qwen2": lambda: hf.Qwen2Config(**DECODER),
    "qwen3": lambda: hf.Qwen3Config(**DECODER),
    "llama": lambda: hf.LlamaConfig(**DECODER),
    "gpt2": lambda: hf.GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=520, pad_token_id=0),
    "mamba": lambda: hf.MambaConfig(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, pad_token_id=0),
}


def texts() -> list[str]:
    """Texts of up to 290 words of the tokenizer."""
    draw = np.random.default_rng(0)
    return [" ".join(f"w{word}" for word in draw.integers(0, WORDS, length)) for length in LENGTHS]


def write(folder: Path, configuration: hf.PretrainedConfig) -> None:
    """Write a plain Hugging Face encoder with random weights, so large that attention matters, and a tokenizer of words."""
    torch.manual_seed(0)
    halves = {"t5": hf.T5EncoderModel, "umt5": hf.UMT5EncoderModel}
    half = halves.get(configuration.model_type)
    backbone = half(configuration) if half else hf.AutoModel.from_config(configuration)
    for parameter in backbone.parameters():
        if parameter.dim() > 1:
            parameter.data.mul_(6)
    backbone.save_pretrained(folder)
    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate([*SPECIAL, *(f"w{i}" for i in range(WORDS))])}))
    words.model.unk_token = "[UNK]"
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    hf.PreTrainedTokenizerFast(tokenizer_object=words, **names, model_max_length=512).save_pretrained(folder)


LEAKING = {"convbert"}  # whose padding is not masked everywhere


def load(folder: Path, name: str, pooling: str) -> BiEncoder:
    if name not in LEAKING:
        return BiEncoder.load(folder, pooling)
    with pytest.warns(UserWarning, match="depend on what a text is batched with"):
        return BiEncoder.load(folder, pooling)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_embeddings_equal_sentence_transformers(name: str, tmp_path: Path) -> None:
    write(tmp_path, CONFIGURATIONS[name]())
    encoder = load(tmp_path, name, "mean")
    transformer = Transformer(str(tmp_path), max_seq_length=300)
    for pooling, theirs in (("mean", "mean"), ("last", "lasttoken"), ("cls", "cls")):
        if pooling == "cls" and not encoder.special_tokens()[0]:
            with pytest.raises(InputError, match="pooling 'cls' needs a token in front of every text"):
                BiEncoder.load(tmp_path, pooling)
            continue
        model = SentenceTransformer(modules=[transformer, Pooling(32, theirs)], device="cpu")
        expected = model.encode(texts(), normalize_embeddings=True)  # in one batch, as ours
        found = encode_texts(load(tmp_path, name, pooling), texts(), 300)
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_word_embeddings_looked_up_before_change_nothing(name: str, tmp_path: Path) -> None:
    """Training looks the words of all chunks up at once."""
    write(tmp_path, CONFIGURATIONS[name]())
    encoder = load(tmp_path, name, "mean")
    batch = encoder.tokenizer(texts()[:6], padding=True, return_tensors="pt")
    ids, mask = batch["input_ids"], batch["attention_mask"]
    with torch.inference_mode():
        torch.testing.assert_close(encoder(ids, mask, encoder.word_embeddings(ids)), encoder(ids, mask), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["bart", "pegasus", "marian"])
def test_encoders_with_a_decoder_are_refused(kind: str, tmp_path: Path) -> None:
    configuration = {"bart": hf.BartConfig, "pegasus": hf.PegasusConfig, "marian": hf.MarianConfig}[kind]
    small = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    write(tmp_path, configuration(vocab_size=VOCABULARY, **small, encoder_ffn_dim=16, decoder_ffn_dim=16, pad_token_id=0))
    with pytest.raises(InputError, match=rf"is an encoder with a decoder \({kind}\); expected an encoder alone"):
        BiEncoder.load(tmp_path)


def test_attention_that_depends_on_the_batch_is_refused(tmp_path: Path) -> None:
    write(tmp_path, hf.BigBirdConfig(**BERT, attention_type="block_sparse", block_size=4, num_random_blocks=1))
    with pytest.raises(InputError, match="attends sparsely to texts of more than 28 tokens"):
        BiEncoder.load(tmp_path)
