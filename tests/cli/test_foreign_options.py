"""Options and names of other programs: each is accepted with the same meaning, or answered with the one meant here."""

import re
from typing import Any

import pytest

from limpid.cli.foreign_kinds import KIND_NAMES, NO_KIND
from limpid.cli.foreign_options import ACCEPTED, ANSWERS, accepted_alias
from limpid.cli.main import COMMANDS, main
from limpid.cli.option_list import list_options, possible_options
from limpid.cli.parser import parse
from limpid.cli.unknown_option import all_defaults
from limpid.diffusion.samplers import Ancestral, Ddim, DpmSolverPP
from limpid.recipes.registry import RECIPES

SCRIPTS = {
    "diffusers train_unconditional.py": """
        dataset_name dataset_config_name model_config_name_or_path train_data_dir output_dir overwrite_output_dir
        cache_dir resolution center_crop random_flip train_batch_size eval_batch_size dataloader_num_workers num_epochs
        save_images_epochs save_model_epochs gradient_accumulation_steps learning_rate lr_scheduler lr_warmup_steps
        adam_beta1 adam_beta2 adam_weight_decay adam_epsilon use_ema ema_inv_gamma ema_power ema_max_decay push_to_hub
        hub_token hub_model_id hub_private_repo logger logging_dir local_rank mixed_precision prediction_type
        ddpm_num_steps ddpm_num_inference_steps ddpm_beta_schedule checkpointing_steps checkpoints_total_limit
        resume_from_checkpoint enable_xformers_memory_efficient_attention preserve_input_precision""",
    "EDM train.py": """
        outdir data cond arch precond duration batch batch-gpu cbase cres lr ema dropout augment xflip fp16 ls bench
        cache workers desc nosubdir tick snap dump seed transfer resume dry-run""",
    "EDM generate.py": """
        network outdir seeds subdirs class batch steps sigma_min sigma_max rho S_churn S_min S_max S_noise solver disc
        schedule scaling""",
    "EDM fid.py": "images ref num seed batch data dest",
    "EDM2 train_edm2.py": """
        outdir data cond preset duration batch channels dropout P_mean P_std lr decay batch-gpu fp16 ls bench status
        snapshot checkpoint seed dry-run""",
    "EDM2 generate_images.py": """
        preset net gnet outdir subdirs seeds class batch steps sigma_min sigma_max rho guidance S_churn S_min S_max
        S_noise""",
    "EDM2 calculate_metrics.py, reconstruct_phema.py": """
        images net ref metrics num seed batch workers data dest indir inprefix outdir outprefix outstd outkimg skip""",
    "k-diffusion train.py": """
        batch-size checkpointing clip-model compile config demo-every dinov2-model end-step evaluate-every evaluate-n
        evaluate-only evaluate-with gns grad-accum-steps lr mixed-precision name num-workers reset-ema resume
        resume-inference sample-n save-every seed start-method text-model wandb-entity wandb-group wandb-project
        wandb-save-model""",
    "nanoGPT train.py": """
        out_dir eval_interval log_interval eval_iters eval_only always_save_checkpoint init_from wandb_log wandb_project
        wandb_run_name dataset gradient_accumulation_steps batch_size block_size n_layer n_head n_embd dropout bias
        learning_rate max_iters weight_decay beta1 beta2 grad_clip decay_lr warmup_iters lr_decay_iters min_lr backend
        device dtype compile""",
    "improved-diffusion": """
        data_dir schedule_sampler lr weight_decay lr_anneal_steps batch_size microbatch ema_rate log_interval
        save_interval resume_checkpoint use_fp16 fp16_scale_growth image_size num_channels num_res_blocks num_heads
        num_heads_upsample attention_resolutions dropout learn_sigma sigma_small class_cond diffusion_steps
        noise_schedule timestep_respacing use_kl predict_xstart rescale_timesteps rescale_learned_sigmas use_checkpoint
        use_scale_shift_norm large_size small_size clip_denoised num_samples use_ddim model_path""",
    "ADM": """
        num_head_channels channel_mult resblock_updown use_new_attention_order classifier_path classifier_scale
        iterations val_data_dir noised anneal_lr eval_interval classifier_use_fp16 classifier_width classifier_depth
        classifier_attention_resolutions classifier_use_scale_shift_norm classifier_resblock_updown classifier_pool""",
}
FOREIGN = sorted({f"--{name.replace('_', '-')}" for names in SCRIPTS.values() for name in names.split()})
DEFAULTS = all_defaults()
OPTIONS = {option for default in DEFAULTS.values() for option in possible_options(type(default))}


def train(*words: str) -> Any:
    return parse(DEFAULTS["limpid train RECIPE"], words, "limpid train demo")


@pytest.mark.parametrize("option", FOREIGN)
def test_an_option_of_another_program_is_accepted_or_answered_with_the_one_meant_here(option: str):
    accepted = any(own in OPTIONS for own in (option, *ACCEPTED.get(option, ())))
    assert accepted or option in ANSWERS


@pytest.mark.parametrize("answer", sorted(set(ANSWERS.values()) | {v for f in NO_KIND.values() for v in f.values()}))
def test_an_answer_names_options_recipes_and_commands_that_exist(answer: str):
    for word in re.findall(r"--[a-z][a-zA-Z.-]*[a-z]", answer):
        assert accepted_alias(word, OPTIONS) in OPTIONS, word
    assert set(re.findall(r"`limpid ([\w-]+)", answer)) <= set(COMMANDS)
    assert set(re.findall(r"the recipe ([\w-]+)", answer)) <= set(RECIPES)


@pytest.mark.parametrize("option", ACCEPTED)
def test_an_alias_stands_for_an_option_that_exists(option: str):
    assert set(ACCEPTED[option]) & OPTIONS


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("--lr 1e-4 --train_batch_size=64", {"--optimizer.lr": 1e-4, "--batch-size": 64}),
        ("--duration 512k", {"--duration": 512_000}),
        ("--images 1.5M --every.save 2ki", {"--duration": 1_500_000, "--every.save": 2048}),
        ("--ema.halflife 0.5M", {"--ema.halflife": 500_000.0}),
        ("--cond=1 --learn_sigma False", {"--class-conditional": True, "--learned-variance": False}),
        ("--no-class-conditional", {"--class-conditional": False}),
        ("--sampling.clip-denoised false", {"--sampling.clip-denoised": False}),
        ("--sampling.no-clip-denoised", {"--sampling.clip-denoised": False}),
        ("--channel_mult 1,2,2 --num_channels 64", {"--network.channel-mult": (1, 2, 2)}),
        ("--mixed_precision bf16", {"--precision": "bfloat16"}),
        ("--data photos/cats --resolution 64", {"--data.root": "photos/cats", "--data.size": 64}),
        ("--cfg 3", {"--sampling.guidance.scale": 3.0}),
        ("--guidance 3", {"--sampling.guidance.scale": 3.0}),
        ("--n_layer 6 --network DiT", {"--network.depth": 6}),
    ],
)
def test_words_of_other_programs_mean_the_same(words: str, values: dict[str, object]):
    found = list_options(train(*words.split()))
    assert {name: found[name].value for name in values} == values


@pytest.mark.parametrize("family", KIND_NAMES)
def test_every_name_of_a_kind_means_one_that_exists(family: str):
    option = next(o for o in ("--" + family, "--sampling." + family, "--optimizer." + family) if o in OPTIONS)
    for word in KIND_NAMES[family]:
        assert train(option, word)


@pytest.mark.parametrize(
    ("word", "sampler"),
    [
        ("ddpm", Ancestral("large")),
        ("euler", Ddim()),
        ("sample_euler_ancestral", Ddim(1.0)),
        ("DPM++ 2M", DpmSolverPP(2)),
        ("dpmpp-3m-sde", DpmSolverPP(3, sde=True)),
    ],
)
def test_a_sampler_is_found_by_its_name_in_k_diffusion(word: str, sampler: object):
    assert train("--sampler", word).recipe.sampling.sampler == sampler


@pytest.mark.parametrize("family", NO_KIND)
def test_a_kind_that_is_not_there_is_answered_with_the_nearest(family: str):
    option = next(o for o in ("--" + family, "--sampling." + family, "--optimizer." + family) if o in OPTIONS)
    for word, answer in NO_KIND[family].items():
        with pytest.raises(ValueError, match=re.escape(f"no {family} '{word}': {answer}")):
            train(option, word)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--max-steps 1000", "no option --max-steps: the length of a run is --duration, counted in images (steps x"),
        ("--duratoin 5", "no option --duratoin: did you mean --duration? `limpid train --help` lists all"),
        ("--schedule Karras --schedule.T 5", "have it; choose one with --schedule"),
        ("--network.width 5", "no option --network.width: it is --network.model-channels since limpid 0.2"),
        ("--network DiT --network.patch 4", "no option --network.patch: it is --network.patch-size since limpid 0.2"),
        ("--emphasis Even", "no option --emphasis: it is --level-sampler since limpid 0.2"),
        ("--guidance.weight 2", "a scale with 1 for none: the weight of limpid 0.1 plus 1"),
        ("--mask left", "no option --mask of limpid train: it is an option of limpid edit"),
        ("--num 4", "no option --num of limpid train: it is --num-samples, an option of limpid sample"),
        ("--batch-size x", "--batch-size x: expected a whole number, like 512, 512k or 1.5M"),
        ("--duration 1.0001k", "--duration 1.0001k: expected a whole number"),
        ("--duration", "--duration needs a value"),
        ("--duration 1 2", "--duration takes one value, but was given 1 2"),
        ("--duration 1e30", "expected a number below 2^63"),
        ("--class-conditional maybe", "expected nothing after it, or true or false"),
        ("--ema 0.5", "--ema 0.5: expected a kind (Ema, PowerFunctionEma); options of the kind chosen now: --ema.half"),
        (
            "--data photos",
            "no folder or file 'photos' (name your images with --data.root PATH), "
            "and no data 'photos': choose from Cifar10, Digits, Folder",
        ),
        ("--data cifar", "no folder or file 'cifar' (name your images with --data.root PATH), and no data 'cifar': "),
        ("--sampler eulr", "did you mean euler?"),
        ("--sampler dpmpp_2m_karras", "no sampler 'dpmpp_2m_karras': it is dpmpp_2m with --sampling-schedule Karras"),
        ("--n_layer 6", "no option --network.depth here: DiT has it; choose that with --network DiT"),
        ("--precision bfloat", "no precision 'bfloat': choose from auto, float32, bfloat16; did you mean bfloat16?"),
        ("demo", "unexpected 'demo': options begin with --"),
        ("--optimizer.betas 0.9 x", "--optimizer.betas x: expected a number"),
    ],
)
def test_a_wrong_option_is_an_error_of_one_line_with_the_right_one(words: str, message: str):
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        train(*words.split())
    assert "\n" not in str(raised.value)


def test_an_option_of_another_format_names_that_format(capsys: pytest.CaptureFixture[str]):
    assert main(["export", "diffusers", "cifar10-small", "--device", "cpu"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("limpid: no option --device of limpid export diffusers: it is an option of limpid train, ")
    assert said.endswith(" and limpid export hub\n")


@pytest.mark.parametrize("program", DEFAULTS)
def test_the_help_of_a_command_alone_lists_its_options(program: str, capsys: pytest.CaptureFixture[str]):
    verb = program.split()[1]
    assert main([verb, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"usage: {program}" in shown
    missing = [option for option in list_options(DEFAULTS[program]) if option not in shown]
    assert missing == []
