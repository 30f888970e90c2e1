"""The confidence of an answer: the checkpoint's calibration where it has one."""

from dataclasses import replace

import pytest
from engine_lab import TOKENS, checkpoint, work

from model.calibration import Calibration
from service.engine.codec import decode
from service.engine.work import Outcome
from service.schemas import HaltedBy


def outcome(**config: object) -> Outcome:
    info = checkpoint()
    asked = replace(work("a"), info=replace(info, config=info.config | config))
    return Outcome(asked, info.name, TOKENS, HaltedBy.ACT, 1, 2.0, -2.0, 0.9, 0.0, 0.0)


def test_without_a_calibration_it_is_what_the_tokens_say() -> None:
    assert decode([outcome()])[0].confidence == 0.9


def test_with_one_it_is_the_probability_that_the_answer_is_exact() -> None:
    calibration = Calibration(offset=-1.0, by_confidence=0.5, by_q_halt=0.25)
    said = decode([outcome(calibration=calibration.to_dict())])[0].confidence
    assert said == pytest.approx(float(calibration.probability(0.9, 2.0)))
    assert said != 0.9


def test_each_answer_has_the_calibration_of_its_own_checkpoint() -> None:
    one, other = (Calibration(offset, by_confidence=0.5, by_q_halt=0.25) for offset in (-1.0, 1.0))
    mixed = [outcome(calibration=one.to_dict()), outcome(), outcome(calibration=other.to_dict())]
    said = [answer.confidence for answer in decode(mixed)]
    assert said == pytest.approx([float(one.probability(0.9, 2.0)), 0.9, float(other.probability(0.9, 2.0))])
