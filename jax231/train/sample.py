"""Text that a trained character model writes."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jax231.core.checks import require
from jax231.core.types import Key, PyTree, Scalar
from jax231.train import answers
from jax231.train.answers import Answer
from jax231.train.run import Run
from jax231.train.step import first_carry


def sample_codes(
    answer: Answer, params: PyTree, state: PyTree, carry: PyTree, prompt: Int[Array, "t"], key: Key,
    *, length: int, temperature: Scalar,
) -> Int[Array, "length"]:  # fmt: skip
    """`length` tokens, each drawn from the softmax of the scores over the temperature, after those of the prompt.

    ``answer(params, state, (carry, tokens (1, t))) -> (carry, scores (1, t, v))`` is that of one network or, by
    `answers.averaged`, of several, whose mean probability the temperature then sharpens. A temperature of 0 takes the
    most probable token; it may be traced. One compiled scan, the carry handed on.

    Source: Karpathy 2015, The unreasonable effectiveness of recurrent neural networks; CS231n lecture 10.
    """

    def read(carry: PyTree, tokens: Array) -> tuple[PyTree, Float[Array, "v"]]:
        carry, scores = answer(params, state, (carry, tokens[None]))
        return carry, scores[0, -1]

    def draw(pair: tuple[PyTree, Array], key: Key) -> tuple[tuple[PyTree, Array], Array]:
        carry, scores = pair
        sharp = scores / jnp.maximum(temperature, jnp.finfo(scores.dtype).tiny ** 0.5)
        code = jnp.where(temperature == 0, jnp.argmax(scores), jax.random.categorical(key, sharp)).astype(prompt.dtype)
        return read(carry, code[None]), code

    return jax.lax.scan(draw, read(carry, prompt), jax.random.split(key, length))[1]


def sample(run: Run, *, length: int = 500, temperature: float = 1.0, prompt: str = "\n", seed: int = 0) -> str:
    """The prompt and `length` characters that the run's model writes after it.

    Each is drawn from the mean of the probabilities of all members, where a run has several; each of them reads the
    whole text with a carry of its own. ``sample(run.alone(i), ...)`` is the text of one.

    Raises: ValueError for a run on images, an empty prompt, one with characters that the text of the run did not have,
            a `length` below 1 and a temperature below 0.
    """
    require(run.entry.form == "tokens", "sample", "a run on text", model=run.entry.name)
    require(length >= 1, "sample", "a length of at least 1", length=length)
    require(0 <= temperature < float("inf"), "sample", "a finite temperature of at least 0", temperature=temperature)
    codes = {character: code for code, character in enumerate(run.classes)}
    unknown = sorted(set(prompt) - set(codes))
    require(
        prompt != "" and not unknown, "sample", "a prompt of characters of the text", prompt=prompt, unknown=unknown
    )
    answer, several = answers.plain(run.network, None), len(run.members) > 1
    if several:
        answer = answers.averaged(answer, run.entry)

    @jax.jit
    def draw(params, state, prompt, key, temperature):
        carry = first_carry(run.config, run.network, 1)
        if several:
            carry = answers.repeated(carry, len(run.members))
        return sample_codes(answer, params, state, carry, prompt, key, length=length, temperature=temperature)

    start = jnp.array([codes[character] for character in prompt], jnp.int32)
    weights = run.stacked() if several else (run.params, run.state)
    drawn = draw(*weights, start, jax.random.key(seed), jnp.float32(temperature))
    return prompt + "".join(run.classes[code] for code in np.asarray(drawn))
