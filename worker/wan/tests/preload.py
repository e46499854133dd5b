"""What processes that are forked off have imported already."""

import av
import peft
import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanTransformer3DModel
from torch.distributed.launcher import api
from torch.utils.tensorboard import SummaryWriter
from transformers import AutoTokenizer, UMT5EncoderModel

import spatialalign_wan.models.sampler
import spatialalign_wan.stages.train
import spatialalign_wan.training.launch
import spatialalign_wan.training.trainer

assert all((av, peft, api, AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanTransformer3DModel, SummaryWriter))
assert all((AutoTokenizer, UMT5EncoderModel, spatialalign_wan))
torch.set_num_threads(1)
