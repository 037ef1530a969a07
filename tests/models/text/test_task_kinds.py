from compress.models.text.task_kinds import text_kind
from compress.tasks.classification import Classification
from compress.tasks.text.causal_language_model import CausalLanguageModel
from compress.tasks.text.embedding import TextEmbedding
from compress.tasks.text.masked_language_model import MaskedLanguageModel
from compress.tasks.text.question_answering import QuestionAnswering
from compress.tasks.text.sequence_to_sequence import SequenceToSequence
from compress.tasks.text.token_classification import TokenClassification


class OwnTags(TokenClassification):
    """A task of the user's own."""


def test_the_task_decides_the_head():
    tasks = (TokenClassification(), OwnTags(), QuestionAnswering(), MaskedLanguageModel(), CausalLanguageModel())
    assert [text_kind(task) for task in tasks] == ["tokens", "tokens", "answers", "masked", "next"]
    others = (SequenceToSequence(), TextEmbedding(), Classification())
    assert [text_kind(task) for task in others] == ["responses", "vectors", None]
