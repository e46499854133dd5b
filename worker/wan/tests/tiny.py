"""Tiny random models of the real classes, saved as the real ones are."""

from __future__ import annotations

import json
import string
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast

SIZE = {"frames": 9, "width": 16, "height": 16, "guidanceScale": 5.0, "negativePrompt": "blurred, static"}


def letters_tokenizer(**special: str) -> PreTrainedTokenizerFast:
    """Cuts a text into its characters: a vocabulary made in code."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

    words = [special["pad_token"], special["eos_token"], special["unk_token"], *string.ascii_letters, *string.digits, *" .,-'"]
    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(dict.fromkeys(words))}, unk_token=special["unk_token"]))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    eos = special["eos_token"]
    inner.post_processor = processors.TemplateProcessing(single=f"$A {eos}", special_tokens=[(eos, 1)])
    return PreTrainedTokenizerFast(tokenizer_object=inner, **special)


def transformer(layers: int = 2) -> object:
    from diffusers import WanTransformer3DModel

    torch.manual_seed(1)
    return WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, in_channels=16, out_channels=16, text_dim=32,
        freq_dim=256, ffn_dim=32, num_layers=layers, cross_attn_norm=True, qk_norm="rms_norm_across_heads", rope_max_seq_len=32,
    )  # fmt: skip


def wan(folder: Path) -> Path:
    """The model folder: transformer, vae, text_encoder, tokenizer, and its own defaults of a sampling."""
    from diffusers import AutoencoderKLWan
    from transformers import UMT5Config, UMT5EncoderModel

    transformer().save_pretrained(folder / "transformer")  # type: ignore[attr-defined]
    torch.manual_seed(2)
    AutoencoderKLWan(
        base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
    ).save_pretrained(folder / "vae")
    tokenizer = letters_tokenizer(pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    torch.manual_seed(3)
    config = UMT5Config(
        vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=4, is_encoder_decoder=False,
        pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
    )  # fmt: skip
    UMT5EncoderModel(config).save_pretrained(folder / "text_encoder")
    tokenizer.save_pretrained(folder / "tokenizer")
    (folder / "sampling.json").write_text(json.dumps(SIZE))
    return folder


def bert_tokenizer() -> object:
    """GroundingDINO knows [CLS], [SEP], "." and "?" by the ids that BERT gives them."""
    from transformers import BertTokenizerFast

    words = ["rabbit", "stone", "cat", "hydrant", "fire", "##s", "dog", "bench", "table"]
    vocabulary = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029}
    used = set(vocabulary.values())
    free = (i for i in range(1, 2000) if i not in used)
    vocabulary |= {word: next(free) for word in words}
    vocabulary |= {f"[unused{i}]": i for i in range(1030) if i not in set(vocabulary.values())}
    return BertTokenizerFast(vocab=vocabulary)


def grounding_dino(folder: Path) -> Path:
    from transformers import (
        BertConfig,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
        SwinConfig,
    )

    torch.manual_seed(4)
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            image_size=64, window_size=7, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1],
            out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=BertConfig(
            vocab_size=1030, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8, max_position_embeddings=64,
            pad_token_id=0,
        ),
        d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=8,
        decoder_ffn_dim=8, num_queries=5, num_feature_levels=4, encoder_n_points=2, decoder_n_points=4, max_text_len=256,
        disable_custom_kernels=True, auxiliary_loss=False,
    )  # fmt: skip
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    pictures = GroundingDinoImageProcessor(size={"shortest_edge": 96, "longest_edge": 128})
    GroundingDinoProcessor(pictures, bert_tokenizer()).save_pretrained(folder)
    return folder


def sam2(folder: Path) -> Path:
    from transformers import (
        Sam2HieraDetConfig,
        Sam2ImageProcessor,
        Sam2VideoConfig,
        Sam2VideoModel,
        Sam2VideoProcessor,
        Sam2VideoVideoProcessor,
        Sam2VisionConfig,
    )
    from transformers.models.sam2_video.configuration_sam2_video import Sam2VideoMaskDecoderConfig, Sam2VideoPromptEncoderConfig

    torch.manual_seed(5)
    hiera = Sam2HieraDetConfig(
        hidden_size=12, num_attention_heads=1, image_size=[128, 128], blocks_per_stage=[1, 2, 1, 1], embed_dim_per_stage=[12, 24, 48, 96],
        num_attention_heads_per_stage=[1, 2, 4, 8], global_attention_blocks=[2], window_positional_embedding_background_size=[7, 7],
    )  # fmt: skip
    config = Sam2VideoConfig(
        vision_config=Sam2VisionConfig(
            backbone_config=hiera, backbone_channel_list=[96, 48, 24, 12], backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]],
            fpn_hidden_size=128,
        ),
        prompt_encoder_config=Sam2VideoPromptEncoderConfig(hidden_size=128, image_size=128, patch_size=16),
        mask_decoder_config=Sam2VideoMaskDecoderConfig(
            hidden_size=128, mlp_dim=32, num_hidden_layers=2, num_attention_heads=4, iou_head_depth=1, iou_head_hidden_dim=128,
        ),
        image_size=128, memory_attention_hidden_size=128, memory_attention_num_layers=1, memory_attention_num_attention_heads=1,
        memory_attention_feed_forward_hidden_size=32, memory_attention_rope_feat_sizes=[8, 8], memory_encoder_hidden_size=128,
        memory_encoder_output_channels=64, mask_downsampler_embed_dim=128, memory_fuser_embed_dim=128, memory_fuser_intermediate_dim=32,
        memory_fuser_num_layers=1, num_maskmem=3,
    )  # fmt: skip
    Sam2VideoModel(config).save_pretrained(folder)
    size = {"height": 128, "width": 128}
    Sam2VideoProcessor(
        Sam2ImageProcessor(size=size, mask_size={"height": 32, "width": 32}), Sam2VideoVideoProcessor(size=size)
    ).save_pretrained(folder)
    return folder


def detector(folder: Path) -> Path:
    grounding_dino(folder / "grounding-dino")
    sam2(folder / "sam2")
    return folder


def guard(folder: Path) -> Path:
    from transformers import (
        CLIPConfig,
        CLIPImageProcessor,
        CLIPModel,
        CLIPProcessor,
        CLIPTextConfig,
        CLIPVisionConfig,
        Dinov2Config,
        Dinov2Model,
    )

    tokenizer = letters_tokenizer(pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    torch.manual_seed(6)
    text = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, eos_token_id=1
    )
    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=16
    )
    CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=8)).save_pretrained(folder / "clip")
    pictures = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(pictures, tokenizer).save_pretrained(folder / "clip")
    Dinov2Model(
        Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=518, patch_size=74, mlp_ratio=1)
    ).save_pretrained(folder / "dinov2")
    return folder
